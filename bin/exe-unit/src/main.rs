//! The supervisor of one activity as a program.

fn main() -> std::process::ExitCode {
    golem_runtime_exe_unit::run(std::env::args_os())
}
