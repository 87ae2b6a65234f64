//! The program `vigie-forward`; see the library's header.

fn main() {}
