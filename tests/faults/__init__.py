"""Nothing is ever lost: crashes at every step, kills, races, and each rule of protocol.md taken out once."""
