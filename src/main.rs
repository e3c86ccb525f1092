//! The `credgate` binary.

fn main() {}
