//! The WASM runtime as a program.

fn main() -> std::process::ExitCode {
    golem_runtime_wasi::run(std::env::args_os())
}
