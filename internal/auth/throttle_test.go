package auth

import (
	"hash/maphash"
	"math"
	"net/netip"
	"testing"
	"time"
)

// However often somebody is wrong, the answer does not come sooner again. Rules: P-auth-6.
func TestDelaysDoNotShrink(t *testing.T) {
	var before time.Duration
	for n := range uint32(200) {
		d := growing(n, 1)
		if d < before || n > 1 && d == 0 {
			t.Fatalf("failure %d waits for %v, the one before for %v", n, d, before)
		}
		before = d
	}
	if growing(math.MaxUint32, throttleFree) < before {
		t.Errorf("the last failure waits for %v", growing(math.MaxUint32, throttleFree))
	}
}

// What has been quiet for longest gives way: who goes on is remembered, whatever others try meanwhile.
func TestWhatIsQuietGivesWay(t *testing.T) {
	x := throttle{sets: make([][throttleWays]failures, throttleSets), seed: maphash.MakeSeed()}
	now := time.Now()
	const key = 5
	for i := range uint64(100) {
		now = now.Add(time.Second)
		if n := x.count(key, now); n != uint32(i)+1 {
			t.Fatalf("failure %d counts as %d", i+1, n)
		}
		x.count(key+(i+1)*throttleSets, now.Add(time.Millisecond))
	}
	if n := x.count(key+throttleSets, now.Add(time.Second)); n != 1 {
		t.Errorf("one that has given way has %d failures", n)
	}
	if n := x.count(key+100*throttleSets, now.Add(time.Second)); n != 2 {
		t.Errorf("the latest but one has %d failures", n)
	}
}

// Networks are those of P-auth-6, however an address is written.
func TestNetworks(t *testing.T) {
	for _, tc := range []struct{ remote, want string }{
		{"192.0.2.7:1", "192.0.2.0/24"}, {"[::ffff:192.0.2.7]:1", "192.0.2.0/24"}, {"[2001:db8:1:2:3::4]:1", "2001:db8:1:2::/64"},
		{"[fe80::1%eth0]:1", "fe80::/64"}, {"", ""}, {"@", ""}, {"in process", ""},
	} {
		want := netip.Prefix{}
		if tc.want != "" {
			want = netip.MustParsePrefix(tc.want)
		}
		if got := networkOf(tc.remote); got != want {
			t.Errorf("%q: %v, want %v", tc.remote, got, want)
		}
	}
}
