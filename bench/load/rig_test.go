package load

import (
	"slices"
	"strings"
	"testing"
)

func TestClusterTargetsSplitByRole(t *testing.T) {
	g := &Rig{addrs: []string{"pub", "sub1", "sub2"}}
	var got []string
	for range 4 {
		got = append(got, g.Addr(Subscribing))
	}
	if slices.Contains(got, "pub") || !slices.Contains(got, "sub1") || !slices.Contains(got, "sub2") || g.Addr(Publishing) != "pub" {
		t.Errorf("subscribers go to %v", got)
	}
}

// Two addresses are one for each role, and one is for both.
func TestFewAddressesAreSplit(t *testing.T) {
	for addrs, want := range map[string]string{"one": "one one one", "pub sub": "pub sub sub"} {
		g := &Rig{addrs: strings.Fields(addrs)}
		if got := strings.Join([]string{g.Addr(Publishing), g.Addr(Subscribing), g.Addr(Subscribing)}, " "); got != want {
			t.Errorf("%s: got %s, want %s", addrs, got, want)
		}
	}
}
