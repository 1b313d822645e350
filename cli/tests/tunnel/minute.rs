//! What is told once a minute.

use std::time::Duration;

use crate::log::{TOO_MANY, strangers};
use crate::process::{Files, Process, server_args, start_client, start_server};
use crate::service::{Service, connect, echoes};
use crate::strangers::refused;

#[test]
fn each_minute_lost_lines_strangers_and_waiting_connections_are_told() {
    let minute = Duration::from_secs(90);
    let files = Files::new();
    let args = server_args(&files, "127.0.0.1:1", &["--verbose"]);
    let mut stuck = Process::start_unread(args);
    strangers(&stuck.address, TOO_MANY);
    stuck.read_log();

    let server = start_server(&files, &Service::echo(), &["--max-connections", "1"]);
    let client = start_client(&files, &server.address, &[]);
    let mut open = connect(&client.address);
    echoes(&mut *open).unwrap();
    let _waits = connect(&client.address);
    server.logs(&["places are taken"]);
    for n in 0..100 {
        refused(&server.address, &format!("invented-{n}"));
    }

    server.logs_within(minute, 1, &["INFO", "strangers since", "refused=40 "]);
    server.logs_times(2, &["places are taken"]);
    // Clients with an unknown key id are named again.
    refused(&server.address, "invented-later");
    server.logs(&["WARN", "\"invented-later\""]);
    stuck.logs_within(minute, 1, &["WARN", "log lines were lost lines="]);
}
