package result

import "testing"

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		u    Unit
		want string
	}{
		{437, Nanoseconds, "437 ns"}, {1500, Nanoseconds, "1.50 µs"}, {2.5e6, Nanoseconds, "2.50 ms"}, {3e9, Nanoseconds, "3.00 s"},
		{12, Bytes, "12 B"}, {12 << 10, Bytes, "12.00 KiB"}, {-3 << 20, Bytes, "-3.0 MiB"},
		{1234567.4, PerSecond, "1,234,567/s"}, {0, Count, "0"}, {-1000, Count, "-1,000"}, {0.987, Ratio, "0.987"},
	} {
		if got := Format(c.v, c.u); got != c.want {
			t.Errorf("%v %q: got %q, want %q", c.v, c.u, got, c.want)
		}
	}
}
