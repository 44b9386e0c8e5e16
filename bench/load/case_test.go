package load

import "testing"

func TestParseSize(t *testing.T) {
	for in, want := range map[string]int{"100": 100, "1K": 1 << 10, "16KiB": 16 << 10, "2m": 2 << 20, "64 B": 64} {
		if got, err := ParseSize(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "x", "-1", "0", "1.5K"} {
		if _, err := ParseSize(in); err == nil {
			t.Errorf("%q: accepted", in)
		}
	}
}
