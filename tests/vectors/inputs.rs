//! What a program is given by its own user, and what the crate refuses of it.

use countersign::handshake::Prologue;
use countersign::{Key, KeyId};

use super::file::{Fields, run};
use crate::support::{Pair, TempDir, key};

#[test]
fn every_input_of_the_kit_is_taken_or_refused_as_it_states() {
    run("inputs.txt", check);
}

fn check(text: &str) -> Result<(), String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    fields.text("section")?;
    let expect = fields.text("expect")?;
    let taken = match fields.text("input")? {
        "secret" => Key::new(fields.bytes("value")?).is_ok(),
        "key file" => loads(fields.number("length")?),
        "key id" => KeyId::new(&fields.bytes("value")?).is_ok(),
        "child id" => key("parent").child_secret(fields.bytes("value")?).is_ok(),
        "service" => Prologue::new(fields.bytes("value")?).is_ok(),
        "export label" => exports(&fields.bytes("value")?, 0, 32),
        "export context" => exports(b"label", fields.number("length")?, 32),
        "export output" => exports(b"label", 0, fields.number("length")?),
        other => return Err(format!("input: {other}")),
    };
    fields.none_left()?;
    let came = if taken { "taken" } else { "refused" };
    if came == expect {
        Ok(())
    } else {
        Err(format!("it is {came}"))
    }
}

/// Returns whether a key file of this length is loaded.
fn loads(length: usize) -> bool {
    let directory = TempDir::new();
    let digits: Vec<_> = (b"0123456789abcdef".iter().copied().cycle())
        .take(length)
        .collect();
    Key::from_file(directory.key_file("a.key", digits)).is_ok()
}

fn exports(label: &[u8], context: usize, output: usize) -> bool {
    let [session, _] = Pair::of(&key("exporting")).run().sessions();
    let (context, mut output) = (vec![0; context], vec![0; output]);
    session.export(label, &context, &mut output).is_ok()
}
