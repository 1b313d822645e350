/* One direction of records, and what its receiver says of the end, where the attacker owns the line: it passes on
 * records that the sender made, any of them, in any order and as often as it likes, or rubbish, or ends the transport.
 *
 * What is delivered is at any time the beginning of what was sent; and where the end is reported as clean, the sender
 * has closed and everything that it sent was delivered.
 *
 * VERDICTS
 *   as specified:       holds
 *   -DNO_CLOSE:         fails: the end of the transport passes for the end of the data
 *   -DNO_NUMBERS:       fails: a tag without a number is good in any place
 *   -DCLOSE_UNNUMBERED: fails: a close that takes no number is good before its time
 *   -DSKIP_BAD:         fails: a record whose tag is wrong is passed over, and leaves a hole
 *   -DSEEK_CLEAN_END:   fails: a clean end does exist, so the first verdict is not for want of one
 */

#define RECORDS 3 /* the most data records that the sender makes before its close */

byte sent = 0;       /* data records made; their numbers are 0 to sent - 1, and so are their payloads */
bool closed = false; /* the close was made; its number is sent */

byte seq = 0;       /* the number that the receiver awaits */
byte delivered = 0; /* records whose payload the application has */
bool clean = false; /* the application was told that the data are complete */
bool over = false;  /* the receiver takes nothing more */

active proctype Sender()
{
	do
	:: sent < RECORDS -> sent++
	:: closed = true; break
	:: break /* it stops without a close */
	od
}

inline reject()
{
#ifdef SKIP_BAD
	if
	:: seq < RECORDS -> seq++
	:: else -> over = true
	fi
#else
	over = true
#endif
}

active proctype LineAndReceiver()
{
	byte record;
	bool right;

	do
	:: over -> break

	:: !over && sent > 0 -> /* a data record, whichever */
		atomic {
			select (record : 0 .. sent - 1);
#ifdef NO_NUMBERS
			right = true;
#else
			right = (record == seq);
#endif
			if
			:: right ->
				assert(record == delivered);
				delivered++;
				seq++
			:: else -> reject()
			fi
		}

	:: !over && closed -> /* the close */
		atomic {
#if defined(NO_NUMBERS) || defined(CLOSE_UNNUMBERED)
			right = true;
#else
			right = (seq == sent);
#endif
			if
			:: right -> clean = true; over = true
			:: else -> reject()
			fi
		}

	:: !over -> /* rubbish */
		atomic { reject() }

	:: !over -> /* the end of the transport */
		atomic {
#ifdef NO_CLOSE
			clean = true;
#endif
			over = true
		}
	od;

#ifdef SEEK_CLEAN_END
	assert(!clean)
#else
	assert(!clean || (closed && delivered == sent))
#endif
}
