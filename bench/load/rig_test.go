package load

import (
	"slices"
	"testing"
)

func TestClusterTargetsSplitByRole(t *testing.T) {
	g := &Rig{addrs: []string{"pub", "sub1", "sub2"}}
	var got []string
	for range 4 {
		got = append(got, g.addr(Subscribing))
	}
	if slices.Contains(got, "pub") || !slices.Contains(got, "sub1") || !slices.Contains(got, "sub2") || g.addr(Publishing) != "pub" {
		t.Errorf("subscribers go to %v", got)
	}
}
