//! Runs the example as a process to its end.

use std::process::Command;

#[test]
fn a_handshake_in_quic_counts_for_its_own_connection_only() {
    let output = Command::new(env!("CARGO_BIN_EXE_quic")).output();
    let output = output.expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let expected = "worker-7 asks for the time\n\
                    A client that is bound to another connection is denied.\n";
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
