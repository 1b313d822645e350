//! The examples without options, which tell a story.

use std::fs;

use super::process::run;

#[track_caller]
fn tells_its_story(name: &str) {
    let expected = concat!(env!("CARGO_MANIFEST_DIR"), "/expected");
    let story = fs::read_to_string(format!("{expected}/{name}.txt")).unwrap();
    run(name, [""; 0]).prints(story.trim_end());
}

#[test]
fn echo_shows_an_honest_client_a_stranger_and_an_impostor() {
    tells_its_story("echo");
}

#[test]
fn over_tls_shows_that_the_binding_stops_a_man_in_the_middle() {
    tells_its_story("over_tls");
}

#[test]
fn first_byte_shows_two_protocols_on_one_port() {
    tells_its_story("first_byte");
}

#[cfg(unix)]
#[test]
fn unix_socket_shows_that_the_secret_decides_and_not_the_user() {
    tells_its_story("unix_socket");
}

#[test]
fn rotate_keys_shows_that_no_login_is_refused_during_a_rotation() {
    tells_its_story("rotate_keys");
}

#[cfg(feature = "tokio")]
#[test]
fn async_lookup_shows_a_key_that_is_awaited() {
    tells_its_story("async_lookup");
}

#[test]
fn actor_shows_a_handshake_that_is_kept_between_messages() {
    tells_its_story("actor");
}

#[test]
fn graceful_stop_shows_a_stop_that_ends_nothing_half_done() {
    tells_its_story("graceful_stop");
}

#[cfg(feature = "tokio")]
#[test]
fn framed_shows_messages_and_an_end_that_is_missing() {
    tells_its_story("framed");
}

#[cfg(feature = "tokio")]
#[test]
fn tokio_over_tls_shows_that_both_ends_have_to_bind() {
    tells_its_story("tokio_over_tls");
}
