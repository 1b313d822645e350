//! What a program is given by its own user, and what the crate refuses of it.

use countersign::handshake::Prologue;
use countersign::{Key, KeyId};

use super::file::{Fields, vectors};
use crate::support::{Pair, key};

#[test]
fn every_input_of_the_kit_is_taken_or_refused_as_it_states() {
    for text in vectors("inputs.txt") {
        check(&text).unwrap_or_else(|problem| panic!("{problem}: {text}"));
    }
}

fn check(text: &str) -> Result<(), String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    fields.text("section")?;
    let expect = fields.text("expect")?;
    let taken = match fields.text("input")? {
        "secret" => Key::new(fields.bytes("value")?).is_ok(),
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

fn exports(label: &[u8], context: usize, output: usize) -> bool {
    let [session, _] = Pair::of(&key("exporting")).run().sessions();
    let (context, mut output) = (vec![0; context], vec![0; output]);
    session.export(label, &context, &mut output).is_ok()
}
