package cli

import "testing"

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		u    string
		want string
	}{
		{437, "ns", "437 ns"}, {1500, "ns", "1.5 µs"}, {2.5e6, "ns", "2.5 ms"}, {3e9, "ns", "3 s"},
		{3.14159e12, "ns", "3,142 s"}, {0, "ns", "0 ns"}, {0.25, "ns", "0.25 ns"},
		{12, "B", "12 B"}, {12 << 10, "B", "12 KiB"}, {-3 << 20, "B", "-3 MiB"}, {5 << 30, "B/h", "5 GiB/h"},
		{1234567.4, "/s", "1,234,567/s"}, {0, "", "0"}, {-1000, "", "-1,000"}, {-999999, "", "-999,999"},
		{999.6, "", "1,000"}, {0.9871, "x", "0.987"}, {1 << 19, "B/s", "0.5 MiB/s"},
	} {
		if got := Format(c.v, c.u); got != c.want {
			t.Errorf("%v %q: got %q, want %q", c.v, c.u, got, c.want)
		}
	}
}
