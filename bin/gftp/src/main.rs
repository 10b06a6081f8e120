//! File transfer between nodes as a program.

fn main() -> std::process::ExitCode {
    golem_runtime_transfer::tool::run(std::env::args_os())
}
