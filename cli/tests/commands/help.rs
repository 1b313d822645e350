//! What the program says about itself.

use crate::{end, program, run};

const COMMANDS: [&[&str]; 8] = [
    &[],
    &["keygen"],
    &["fingerprint"],
    &["rotate"],
    &["check"],
    &["tunnel"],
    &["tunnel", "client"],
    &["tunnel", "server"],
];

#[test]
fn each_help_fits_a_screen_and_has_an_example() {
    for command in COMMANDS {
        let [short, long] = ["-h", "--help"].map(|help| {
            let ended = run(command.iter().copied().chain([help]));
            assert_eq!(ended.status, Some(0), "{ended:#?}");
            ended.stdout
        });
        assert_eq!(short, long, "{command:?}");
        // A screen of 24 lines has the prompt too.
        assert!(long.lines().count() <= 23, "{long}");
        assert!(
            long.lines().all(|line| line.chars().count() <= 80),
            "{long}"
        );
        let example = format!("\n  countersign {}", command.join(" "));
        assert!(long.contains(&example), "{long}");
    }
}

#[test]
fn the_exit_statuses_are_documented() {
    let help = run(["--help"]).stdout;
    let (_, statuses) = help.split_once("Exit status: ").unwrap();
    for status in ["0 ", "1 ", "2 ", "3 ", "64 "] {
        assert!(statuses.contains(status), "{help}");
    }
}

#[test]
fn a_wrong_command_line_has_a_status_of_its_own() {
    for wrong in [
        &[][..],
        &["unknown"],
        &["--unknown"],
        &["keygen"],
        &["keygen", ""],
        &["keygen", "a", "b"],
        &["keygen", "--child-of", "master.key", "a.key"],
        &["keygen", "--key-id", &"x".repeat(65), "a.key"],
        &["fingerprint"],
        &["rotate", "a.key"],
        &["rotate", "a.key", "unknown"],
        &["check", "127.0.0.1:1"],
        &["tunnel", "client", "--to", "127.0.0.1:1"],
        &["tunnel", "server", "--to", "127.0.0.1:1"],
        &["tunnel", "server", "--to", "127.0.0.1", "--key-dir", "keys"],
        &[
            "check",
            "127.0.0.1:1",
            "--key-file",
            "a.key",
            "--verb",
            "unknown",
        ],
    ] {
        let ended = run(wrong.iter().copied());
        assert_eq!(ended.status, Some(64), "{wrong:?}: {ended:#?}");
        assert!(ended.stderr.contains("--help"), "{ended:#?}");
        assert_eq!(ended.stdout, "");
    }
}

/// `/dev/full` stands for a disk that is full.
#[cfg(target_os = "linux")]
#[test]
fn output_that_cannot_be_written_is_an_error_and_no_panic() {
    let files = crate::Files::new();
    let key = files.write("a.key", crate::MASTER);
    for args in [&["--help"][..], &["--version"], &["fingerprint", &key]] {
        let mut shell = std::process::Command::new("sh");
        shell
            .args(["-c", "\"$0\" \"$@\" > /dev/full"])
            .arg(program().get_program())
            .args(args);
        let ended = end(&mut shell);
        ended.fails(1, &["could not write to standard output: "]);
    }
}
