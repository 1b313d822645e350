//! What each end of a handshake does with what it is sent.

#[cfg(feature = "encrypt")]
use countersign::handshake::Encrypt;
use countersign::handshake::client::{self, AwaitVerdict};
use countersign::handshake::{
    Authenticate, Binding, Error, Incompatible, Progress, Prologue, Protect, Refusal, Transcript,
};
use countersign::{Client, Key, Matched, Session};

use super::file::{Fields, run};
use crate::support::{Act, AnyMode, Draws, Driver, End, Pair, Says, Wire, feed, hex};

#[test]
fn every_exchange_of_the_kit_comes_out_as_it_states() {
    // However it arrives, the outcome is the same.
    run("exchanges.txt", |text| {
        [usize::MAX, 1, 7]
            .into_iter()
            .try_for_each(|piece| check(text, piece))
    });
}

/// What an end is given.
struct Case {
    is_client: bool,
    key: Key,
    prologue: Prologue,
    service: Vec<u8>,
    draws: Draws,
    /// A server's private key, where it may draw one.
    second_draw: Option<Draws>,
    receives: Vec<u8>,
    piece: usize,
}

/// What an end did.
#[derive(Debug, PartialEq, Eq)]
struct Came {
    expect: String,
    sends: String,
    /// What it left to the application.
    left: Option<String>,
    matched: Option<String>,
    exported: Option<String>,
}

/// Compares a case with the crate.
fn check(text: &str, piece: usize) -> Result<(), String> {
    let mut fields = Fields::parse(text)?;
    fields.text("name")?;
    fields.text("section")?;
    let expect = fields.text("expect")?.to_owned();
    let is_client = fields.text("role")? == "client";
    let mode = fields.text("mode")?;
    let mut key = Key::new(fields.bytes("secret")?).unwrap();
    if fields.has("accepted") {
        key = key.accepting(fields.bytes("accepted")?).unwrap();
    }
    let key = key.with_id(fields.bytes("key-id")?).unwrap();
    let service = fields.bytes("service")?;
    let mut prologue = Prologue::new(&service).unwrap();
    let binding = fields.bytes("binding")?;
    if let Some(exported) = binding.strip_prefix(b"tls-exporter:") {
        prologue = prologue.bound(Some(&Binding::tls_exporter(exported.try_into().unwrap())));
    }
    let draws = Draws::of(fields.array("draw")?);
    let second_draw = if fields.has("second-draw") {
        Some(Draws::of(fields.array("second-draw")?))
    } else {
        None
    };
    let under_test = Case {
        is_client,
        key,
        prologue,
        service,
        draws,
        second_draw,
        receives: fields.bytes("receives")?,
        piece,
    };
    let expected = Came {
        expect,
        sends: fields.text("sends")?.to_owned(),
        left: fields.optional("left"),
        matched: fields.optional("matched"),
        exported: fields.optional("exported"),
    };
    fields.none_left()?;
    let mut came = match mode {
        "0" => under_test.run(Authenticate),
        "1" => under_test.run(Protect),
        #[cfg(feature = "encrypt")]
        "2" => under_test.run(Encrypt),
        #[cfg(not(feature = "encrypt"))]
        "2" => return Ok(()),
        other => return Err(format!("mode: {other}")),
    };
    if expected.left.is_none() {
        came.left = None;
    }
    if expected.matched.is_none() {
        came.matched = None;
    }
    if came == expected {
        Ok(())
    } else {
        Err(format!("{came:?} came out"))
    }
}

impl Case {
    fn run<M: AnyMode>(&self, mode: M) -> Came {
        if self.is_client {
            self.run_client(mode)
        } else {
            self.run_server(mode)
        }
    }

    fn run_client<M: AnyMode>(&self, mode: M) -> Came {
        let (transcript, key) = (Box::<Transcript>::default(), self.key.clone());
        let state = client::start(
            transcript,
            key,
            &self.prologue,
            mode,
            &mut self.draws.clone(),
        );
        match feed(state.unwrap(), &self.receives, self.piece) {
            Err(error) => Came::of(outcome(error), &self.sent_by_the_drivers(M::NUMBER)),
            Ok((Progress::More(_), _)) => Came::of("closed", &self.sent_by_the_drivers(M::NUMBER)),
            Ok((Progress::Done(state), left)) => self.run_client_behind_f1(state, left),
        }
    }

    fn run_client_behind_f1<M: AnyMode>(
        &self,
        state: AwaitVerdict<Box<Transcript>, Key, M>,
        left: usize,
    ) -> Came {
        let sent = state.response().to_vec();
        let rest = &self.receives[self.receives.len() - left..];
        match feed(state, rest, self.piece) {
            Err(error) => {
                let whole = if M::NUMBER == 2 { 65 } else { 33 };
                let mut came = Came::of(outcome(error), &sent);
                came.left = rest.len().checked_sub(whole).map(|left| left.to_string());
                came
            }
            Ok((Progress::More(_), _)) => Came::of("closed", &sent),
            Ok((Progress::Done(established), left)) => {
                Came::accepted(M::accepted(established), &sent, left)
            }
        }
    }

    /// What a driver sends to a server whose F1 is at fault or cut: the states send nothing.
    fn sent_by_the_drivers(&self, mode: u8) -> Vec<u8> {
        let client = Client::new(self.key.clone())
            .service(&self.service)
            .unwrap();
        let wire = || {
            let len = self.receives.len();
            Wire::to(Says(self.receives.clone())).read_until(len, Act::Nothing)
        };
        let drivers = if mode == 0 {
            Driver::ALL
        } else {
            &[Driver::Blocking]
        };
        let mut sent: Vec<_> = (drivers.iter())
            .map(|&driver| {
                let mut wire = wire();
                match mode {
                    0 => drop(driver.client(&mut wire, &client)),
                    1 => drop(client.protect(&mut wire)),
                    #[cfg(feature = "encrypt")]
                    2 => drop(client.encrypt(&mut wire)),
                    _ => panic!("there is no mode {mode}"),
                }
                wire.written
            })
            .collect();
        sent.dedup();
        assert_eq!(sent.len(), 1, "the drivers differ: {sent:?}");
        sent.remove(0)
    }

    fn run_server<M: AnyMode>(&self, mode: M) -> Came {
        let pair = Pair {
            server_draws: self.draws.clone(),
            server_prologue: self.prologue.clone(),
            ..Pair::of(&self.key)
        };
        let (challenge, state) = pair.server_in(mode);
        let mut sent = challenge.as_ref().to_vec();
        match feed(state, &self.receives, self.piece) {
            Err(error) => Came::of(outcome(error), &sent),
            Ok((Progress::More(_), _)) => Came::of("closed", &sent),
            Ok((Progress::Done(identified), left)) => {
                let key = (identified.key_id() == self.key.id()).then_some(&self.key);
                let mut draws = self.second_draw.clone().unwrap_or(Draws::from(0xff));
                let (verdict, decided) = identified.verify(key, &mut draws).unwrap();
                assert_eq!(draws.count, usize::from(self.second_draw.is_some()));
                sent.extend(verdict.as_ref());
                match decided {
                    Ok(established) => Came::accepted(M::accepted(established), &sent, left),
                    Err(error) => Came::of(outcome(error), &sent),
                }
            }
        }
    }
}

impl Came {
    fn of(expect: &str, sent: &[u8]) -> Self {
        Self {
            expect: expect.to_owned(),
            sends: hex(sent),
            left: None,
            matched: None,
            exported: None,
        }
    }

    fn accepted(end: End, sent: &[u8], left: usize) -> Self {
        let End::Accepted(session, _) = end else {
            panic!("{end:?}");
        };
        Self {
            left: Some(left.to_string()),
            matched: Some(matched(&session).to_owned()),
            exported: Some(exported(&session)),
            ..Self::of("accepted", sent)
        }
    }
}

fn matched(session: &Session) -> &'static str {
    match session.matched() {
        Matched::First => "first",
        Matched::Accepted => "second",
    }
}

fn exported(session: &Session) -> String {
    let mut output = [0; 32];
    session.export(b"kit", b"", &mut output).unwrap();
    hex(&output)
}

/// The outcome, in the words of the specification.
fn outcome(error: Error) -> &'static str {
    match error {
        Error::Incompatible(incompatible) => match incompatible {
            Incompatible::KeyIdLength(_) | Incompatible::Verdict(_) => "malformed",
            Incompatible::Foreign { .. } => "foreign protocol",
            Incompatible::Version(_) => "other version",
            Incompatible::Role(_) => "wrong role",
            Incompatible::Mode { .. } => "wrong mode",
            other => panic!("{other}"),
        },
        Error::Denied => "denied",
        Error::ServerNotAuthentic => "server not authentic",
        Error::AllZeroSecret => "all-zero shared secret",
        Error::ClientNotAuthentic { refusal, .. } => match refusal {
            Refusal::UnknownKeyId => "unknown key id",
            Refusal::WrongProof => "proof rejected",
            Refusal::AllZeroSecret => "all-zero shared secret",
            other => panic!("{other}"),
        },
        other => panic!("{other}"),
    }
}
