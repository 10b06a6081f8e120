fn main() -> std::process::ExitCode {
    golem_agent_provider::run(std::env::args_os())
}
