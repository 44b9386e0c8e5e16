package rpc

import (
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed31b3bfd0/slimgo/session"
)

// FuzzFrame reads what single values of frames may be.
func FuzzFrame(f *testing.F) {
	for _, text := range []string{
		"0", "16", "17", "-1", "+5", "0x1", "99999999999", "", "1786000005.25", "1e11", "NaN", "-inf", "Infinity", "1e-320", "0x1p9", "acme.Echo/Unary",
		"/a/b", "//", "/a/", "\xff",
	} {
		f.Add(text, []byte("payload"))
		f.Add(text, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, text string, payload []byte) {
		m := &session.Message{}
		m.Metadata, m.Data = map[string]string{keyCode: text}, payload
		switch k, failed := kindOf(m); {
		case (k == failure) != (failed != nil):
			t.Errorf("kind %d with %v", k, failed)
		case failed != nil && (failed.Code == OK || failed.Code >= codes || !failed.Remote):
			t.Errorf("code %q: %+v", text, failed)
		case failed != nil && (!utf8.ValidString(failed.Message) || len(failed.Message) > 3*mostText+100):
			t.Errorf("code %q: %+v", text, failed)
		case k == end && len(payload) > 0:
			t.Errorf("code %q and %d bytes are an end", text, len(payload))
		}
		if at, err := parseDeadline(text); err == nil && !at.IsZero() {
			if at.Unix() < 0 || at.Unix() > farthest {
				t.Errorf("deadline %q: %v", text, at)
			}
			again, err := parseDeadline(formatDeadline(at))
			if err != nil || again.Sub(at).Abs() > time.Millisecond {
				t.Errorf("deadline %q: %v, and written and read %v, %v", text, at, again, err)
			}
		}
		if m, err := ParseMethod(text); err == nil {
			if again, err := ParseMethod(m.String()); err != nil || again != m {
				t.Errorf("method %q: %v, and written and read %v, %v", text, m, again, err)
			}
		}
	})
}

// Deadlines are written without an exponent, as the shortest text that is read as the same number (P-rpc-3).
func TestDeadlineText(t *testing.T) {
	for at, want := range map[time.Time]string{
		time.Unix(1786000005, 250_000_000):      "1786000005.25",
		time.Unix(1786000005, 0):                "1786000005",
		time.Unix(int64(math.Pow(10, 10)), 5e8): "10000000000.5",
		time.Unix(0, 1000):                      "0.000001",
	} {
		if got := formatDeadline(at); got != want || strings.ContainsAny(got, "eE") {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
}
