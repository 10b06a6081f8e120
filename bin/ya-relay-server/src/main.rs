fn main() -> std::process::ExitCode {
    golem_net_relay_server::run(std::env::args_os())
}
