//! Plugins in languages other than Rust, as their authors make them: new, build, test, run, change. `cargo xtask test --lang ..`
//! installs the tools that they need.

mod author;
mod c;
mod go;
mod javascript;
mod python;
mod receiver;
