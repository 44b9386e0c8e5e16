package agent

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// wants makes an order of links, with one route over each of some.
func wants(links map[string]string, over ...string) *order {
	o := newOrder()
	for id, endpoint := range links {
		o.links[id] = &Wanted{ID: id, Endpoint: endpoint}
	}
	for _, id := range over {
		o.set(id, alice)
	}
	return o
}

// What an order keeps of the one before it, and for how long. Rules: P-ctl-9.
func TestWhatIsLeftOver(t *testing.T) {
	t0 := time.Unix(1000, 0)
	l := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	for _, x := range []struct {
		name       string
		registered time.Duration // before the second order; negative: never
		second     *order
		left       []string // ids of leftovers
		dialled    []string // of these, what this node dials
		until      time.Duration
	}{
		{"nothing is ordered", -1, wants(nil), nil, nil, 0},
		{"another endpoint", -1, wants(l("b", "y")), nil, nil, 0},
		{"the same endpoint", -1, wants(l("b", "x")), []string{"a"}, []string{"a"}, carryLimit},
		{"after a registration", time.Second, wants(l("b", "y")), []string{"a", "in"}, []string{"a"}, grace - time.Second},
		{"after a registration, the same endpoint", time.Second, wants(l("b", "x")), []string{"a", "in"}, []string{"a"}, grace - time.Second},
		{"long after a registration", grace, wants(l("b", "y")), nil, nil, 0},
		{"the same link without its routes, after a registration", time.Second, wants(l("a", "x")), []string{"a", "in"}, nil, grace - time.Second},
		{"all of it", time.Second, wants(l("a", "x"), "a", "in"), []string{"a", "in"}, nil, grace - time.Second},
	} {
		t.Run(x.name, func(t *testing.T) {
			o := wants(l("a", "x"), "a", "in")
			if x.registered >= 0 {
				o.registered(newOrder(), t0.Add(-x.registered))
			}
			o.become(x.second, t0)
			left := slices.Sorted(maps.Keys(o.leftovers))
			var dialled []string
			for _, id := range left {
				if o.leaving(id) {
					dialled = append(dialled, id)
				}
			}
			if !slices.Equal(left, x.left) || !slices.Equal(dialled, x.dialled) {
				t.Errorf("left over %v, dialled %v; want %v and %v", left, dialled, x.left, x.dialled)
			}
			if next := o.expire(t0); len(x.left) > 0 && next != t0.Add(x.until) {
				t.Errorf("to be looked at %v later, want %v", next.Sub(t0), x.until)
			}
			if o.expire(t0.Add(carryLimit)); len(o.leftovers) > 0 {
				t.Errorf("%v are left for ever", o.leftovers)
			}
		})
	}
}

// A control plane that orders nothing after a registration gets what it has said with it, when the time is over.
func TestARegistrationThatNothingFollows(t *testing.T) {
	t0 := time.Unix(1000, 0)
	o := wants(map[string]string{"a": "x"}, "a")
	o.registered(newOrder(), t0)
	if next := o.expire(t0); next != t0.Add(grace) || len(o.links) != 1 {
		t.Errorf("looked at %v later, %d links", next.Sub(t0), len(o.links))
	}
	o.expire(t0.Add(grace))
	if len(o.links)+len(o.routes)+len(o.leftovers) > 0 {
		t.Errorf("links %v, routes %v, left over %v", o.links, o.routes, o.leftovers)
	}
}

// A route that moves stays until the order has named it once, and then as long as that does.
func TestARouteThatMoves(t *testing.T) {
	t0 := time.Unix(1000, 0)
	o := wants(map[string]string{"a": "x"}, "a")
	o.become(wants(map[string]string{"b": "x"}), t0)
	o.carry(o.leftovers["a"], "b", t0)
	if o.leftovers["b"].routes[alice.Name] != alice || len(o.leftovers["a"].routes) > 0 {
		t.Fatalf("left over %v", o.leftovers)
	}
	o.become(wants(map[string]string{"b": "x"}), t0)
	if len(o.leftovers["b"].routes) != 1 {
		t.Error("an order that does not name it ends it")
	}
	o.become(wants(map[string]string{"b": "x"}, "b"), t0)
	if len(o.leftovers["b"].routes) != 0 {
		t.Error("it stays beside the order that names it")
	}
	bob := wire.Text("org", "ns", "bob")
	o.leftovers["a"].routes[bob.Name] = bob
	o.carry(o.leftovers["a"], "b", t0)
	if o.expire(t0.Add(carryLimit)); len(o.leftovers) > 0 {
		t.Errorf("left over %v", o.leftovers)
	}
}
