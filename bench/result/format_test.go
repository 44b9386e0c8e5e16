package result

import "testing"

func TestFormat(t *testing.T) {
	for _, c := range []struct {
		v    float64
		u    Unit
		want string
	}{
		{437, Nanoseconds, "437 ns"}, {1500, Nanoseconds, "1.5 µs"}, {2.5e6, Nanoseconds, "2.5 ms"}, {3e9, Nanoseconds, "3 s"},
		{3.14159e12, Nanoseconds, "3,142 s"}, {0, Nanoseconds, "0 ns"}, {0.25, Nanoseconds, "0.25 ns"},
		{12, Bytes, "12 B"}, {12 << 10, Bytes, "12 KiB"}, {-3 << 20, Bytes, "-3 MiB"}, {5 << 30, BytesPerHour, "5 GiB/h"},
		{1234567.4, PerSecond, "1,234,567/s"}, {0, Count, "0"}, {-1000, Count, "-1,000"}, {-999999, Count, "-999,999"},
		{999.6, Count, "1,000"}, {0.9871, Ratio, "0.987"}, {1 << 19, BytesPerSecond, "0.5 MiB/s"},
	} {
		if got := Format(c.v, c.u); got != c.want {
			t.Errorf("%v %q: got %q, want %q", c.v, c.u, got, c.want)
		}
	}
}
