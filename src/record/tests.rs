use super::*;
use crate::buffer::join;
use crate::mac::MacKey;

/// A direction of which `seq` records were sent already, more than a test can send.
fn direction_after<P: Protection>(protection: fn(MacKey) -> P, seq: u64) -> (Sealer<P>, Opener<P>) {
    let key = MacKey::new(b"the key of a direction");
    let (ours, theirs) = (protection(key.clone()), protection(key));
    let Records {
        mut sealer,
        mut opener,
    } = Records::new(ours, theirs);
    (sealer.seq, opener.seq) = (seq, seq);
    (sealer, opener)
}

/// Makes each test one for every protection.
macro_rules! for_every_protection {
    ($($test:ident),+ $(,)?) => {
        mod integrity {
            $(#[test]
            fn $test() -> Result<(), super::Error> {
                super::$test(super::Integrity::new)
            })+
        }

        #[cfg(feature = "encrypt")]
        mod encryption {
            $(#[test]
            fn $test() -> Result<(), super::Error> {
                super::$test(super::Encryption::new)
            })+
        }
    };
}

for_every_protection!(
    the_last_sequence_number_is_never_used,
    a_record_of_the_last_sequence_number_is_not_opened_though_its_tag_is_right,
    a_close_may_have_the_last_number_that_is_used,
    both_ends_begin_a_step_with_the_same_record,
    a_close_may_be_the_first_or_the_last_record_of_a_step,
);

fn the_last_sequence_number_is_never_used<P: Protection>(
    protection: fn(MacKey) -> P,
) -> Result<(), Error> {
    let (mut sealer, mut opener) = direction_after(protection, u64::MAX - 2);
    for _ in 0..2 {
        let mut record = [b'x'; 1 + OVERHEAD];
        sealer.seal(&mut record)?;
        assert_eq!(opener.open(&mut record)?, Opened::Data(b"x"));
    }
    let unsealed = [b'x'; 1 + OVERHEAD];
    for _ in 0..2 {
        let mut record = unsealed;
        assert_eq!(sealer.seal(&mut record), Err(Error::Exhausted));
        assert_eq!(record, unsealed);
        assert_eq!(sealer.close(), Err(Error::Exhausted));
        assert_eq!(opener.open(&mut record), Err(Error::Exhausted));
    }
    Ok(())
}

fn a_record_of_the_last_sequence_number_is_not_opened_though_its_tag_is_right<P: Protection>(
    protection: fn(MacKey) -> P,
) -> Result<(), Error> {
    let (sealer, mut opener) = direction_after(protection, u64::MAX);
    let header = [0, 0];
    let tag = sealer.protection.seal(u64::MAX, header, &mut [])?;
    let mut record = join::<_, _, OVERHEAD>(&header, &tag);
    assert_eq!(opener.open(&mut record), Err(Error::Exhausted));

    // The control: it is the number, and not the record.
    opener.seq -= 1;
    let (mut sealer, _) = direction_after(protection, u64::MAX - 1);
    assert_eq!(opener.open(&mut sealer.close()?), Ok(Opened::Close));
    Ok(())
}

fn a_close_may_have_the_last_number_that_is_used<P: Protection>(
    protection: fn(MacKey) -> P,
) -> Result<(), Error> {
    let (mut sealer, mut opener) = direction_after(protection, u64::MAX - 1);
    assert_eq!(opener.open(&mut sealer.close()?)?, Opened::Close);
    assert_eq!(sealer.close(), Err(Error::Closed));
    assert_eq!(opener.open(&mut []), Err(Error::Closed));
    Ok(())
}

/// The first record of a step of mode 2. The second one begins the last step.
const FIRST_OF_A_STEP: [u64; 3] = [65_536, u64::MAX - 65_535, 1 << 40];

fn both_ends_begin_a_step_with_the_same_record<P: Protection>(
    protection: fn(MacKey) -> P,
) -> Result<(), Error> {
    for first in FIRST_OF_A_STEP {
        let (mut sealer, mut opener) = direction_after(protection, first - 2);
        for seq in first - 2..first + 2 {
            let mut record = [b'x'; 1 + OVERHEAD];
            sealer.seal(&mut record)?;
            assert_eq!(opener.open(&mut record)?, Opened::Data(b"x"), "{seq}");
        }
    }
    Ok(())
}

fn a_close_may_be_the_first_or_the_last_record_of_a_step<P: Protection>(
    protection: fn(MacKey) -> P,
) -> Result<(), Error> {
    for seq in FIRST_OF_A_STEP
        .into_iter()
        .flat_map(|first| [first - 1, first])
    {
        let (mut sealer, mut opener) = direction_after(protection, seq - 1);
        let mut record = [b'x'; 1 + OVERHEAD];
        sealer.seal(&mut record)?;
        assert_eq!(opener.open(&mut record)?, Opened::Data(b"x"), "{seq}");
        assert_eq!(opener.open(&mut sealer.close()?)?, Opened::Close, "{seq}");
    }
    Ok(())
}
