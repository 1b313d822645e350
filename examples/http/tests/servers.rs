//! Runs servers that bring their clients as a process to its end.

use std::process::Command;

#[track_caller]
fn prints(program: &str, expected: &str) {
    let output = Command::new(program).output().expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
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
