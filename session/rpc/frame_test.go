package rpc

import (
	"math"
	"regexp"
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
		time.Unix(-5, 0):                        "0",
	} {
		if got := formatDeadline(at); got != want || strings.ContainsAny(got, "eE") {
			t.Errorf("%v: %q, want %q", at, got, want)
		}
	}
}

// Deadlines that no time.Time can be computed with are none.
func TestFarDeadlines(t *testing.T) {
	for text, want := range map[string]time.Time{"1e11": time.Unix(1e11, 0), "1.1e11": {}, "1e30": {}, "+Inf": {}} {
		if got, err := parseDeadline(text); err != nil || !got.Equal(want) {
			t.Errorf("%s: %v, %v; want %v", text, got, err, want)
		}
	}
}

// Texts of errors are UTF-8 and bounded, whatever a peer sends in their place.
func TestTextsAreBounded(t *testing.T) {
	for name, text := range map[string]string{
		"letters": strings.Repeat("a", 100_000), "runes": "a" + strings.Repeat("ö", 50_000), "bytes that are none": strings.Repeat("\xff", 100_000),
		"some that are none": strings.Repeat("\xffa", 50_000), "few that are none": strings.Repeat("\xffa", mostText/2),
	} {
		for _, code := range []string{"5", "99"} {
			k, failed := kindOf(&session.Message{Content: session.Content{Data: []byte(text), Metadata: map[string]string{keyCode: code}}})
			if k != failure || len(failed.Message) > mostText+100 || !utf8.ValidString(failed.Message) || len(failed.Message) < 3 {
				t.Errorf("%s, code %s: %v, %d bytes", name, code, k, len(failed.Message))
			}
		}
		if got := clip(text, mostText); len(got) > mostText || !utf8.ValidString(got) {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

// Ids are UUIDs of version 4, in lower case, no two of them the same (P-rpc-1).
func TestIDs(t *testing.T) {
	form := regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`)
	seen := map[string]bool{}
	for range 1000 {
		id := newID()
		if !form.MatchString(id) || seen[id] {
			t.Errorf("id %q", id)
		}
		seen[id] = true
	}
}
