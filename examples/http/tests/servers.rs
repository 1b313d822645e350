//! Runs each server, with its clients, as a process to its end.

use std::process::Command;

#[track_caller]
fn prints(program: &str, expected: &str) {
    let output = Command::new(program).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}

#[test]
fn axum_gives_handlers_the_key_id_of_their_client() {
    prints(
        env!("CARGO_BIN_EXE_axum_server"),
        "worker-7 requests /: 200 hello, worker-7\n\
         worker-7 requests /reports: 403 \n\
         auditor requests /reports: 200 all is well\n\
         A stranger is denied before any request.\n",
    );
}

#[test]
fn hyper_gives_its_service_the_key_id_of_its_client() {
    prints(
        env!("CARGO_BIN_EXE_hyper_server"),
        "worker-7 requests /jobs\n\
         A stranger is denied before any request.\n",
    );
}

#[test]
fn tonic_finds_the_key_id_in_the_extensions_of_requests() {
    prints(
        env!("CARGO_BIN_EXE_tonic_server"),
        "worker-7 asks for the health of worker-7: Ok\n\
         worker-7 asks for the health of worker-8: PermissionDenied\n\
         A stranger is denied before any call.\n",
    );
}
