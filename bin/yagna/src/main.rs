fn main() -> std::process::ExitCode {
    yagna::run(std::env::args_os())
}
