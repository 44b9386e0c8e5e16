package hop

import "fmt"

// Verdict says what becomes of a message, by its header.
type Verdict uint8

// The verdicts.
const (
	// OK: it goes on.
	OK Verdict = iota
	// Undecodable: the header is no SLIMHeader. The stream of the sender ends (P-msg-3).
	Undecodable
	// Odd: a field of the header occurs twice. wire.Normalise merges them (P-msg-6).
	Odd
	// TooLong: the header and what comes before it are longer than Options.MaxHeader (P-lim-7).
	TooLong
	// Invalid: header, session header or the encoded part of a name is missing (P-msg-2).
	Invalid
	// Unsigned: the header MAC is missing (P-mac-6).
	Unsigned
	// BadMAC: the header MAC is wrong, or there is one where there can be none (P-mac-6).
	BadMAC
	// Expired: it has made its last hop (P-ttl-1).
	Expired

	// NumVerdicts is the number of verdicts.
	NumVerdicts = int(Expired) + 1
)

var verdictNames = [NumVerdicts]string{"ok", "undecodable", "odd", "too long", "invalid", "unsigned", "bad MAC",
	"expired"}

// String returns the verdict in words.
func (v Verdict) String() string {
	if int(v) < NumVerdicts {
		return verdictNames[v]
	}
	return fmt.Sprintf("verdict(%d)", uint8(v))
}
