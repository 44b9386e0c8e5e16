package ports

import (
	"net"
	"testing"
)

// Ports differ, nobody listens at them, and one at which somebody does is left out; when a process has had all that it can hold, it gets
// those again.
func TestFree(t *testing.T) {
	one, err := Free()
	if err != nil {
		t.Fatal(err)
	}
	taken := listen(one + 1)
	if taken == nil {
		t.Fatalf("somebody listens at %d", one+1)
	}
	defer Close(taken)
	seen := map[int]int{one: 1}
	for range most * size {
		port, err := Free()
		if err != nil {
			t.Fatal(err)
		}
		if port == taken.Addr().(*net.TCPAddr).Port {
			t.Fatalf("%d is taken", port)
		}
		if seen[port]++; port == one {
			break
		}
	}
	if n := len(seen); n < size-2 || seen[one] != 2 {
		t.Errorf("%d ports, the first one %d times", n, seen[one])
	}
	for port, n := range seen {
		if n > 1 && port != one {
			t.Fatalf("%d comes %d times before all have come", port, n)
		}
	}
}
