//! Keys, checks and tunnels with countersign.

fn main() {}
