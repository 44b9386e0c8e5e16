package recent

import (
	"sync"
	"sync/atomic"
	"testing"
)

// counted keeps numbers, and counts how many were made and prepared.
func counted() (c *Values[int, int], made, prepared *atomic.Int32) {
	made, prepared = new(atomic.Int32), new(atomic.Int32)
	c = New(func() { prepared.Add(1) }, func(k *int) *int { made.Add(1); v := *k; return &v })
	return c, made, prepared
}

func (c *Values[K, V]) kept() (n int) {
	for i := range c.sets {
		for j := range c.sets[i] {
			if c.sets[i][j].Load() != nil {
				n++
			}
		}
	}
	return n
}

func TestMadeAtTheThirdUse(t *testing.T) {
	c, made, prepared := counted()
	var u, other Uses
	k := 7
	for i := range 6 {
		got := c.Find(&k, &u)
		if (got != nil) != (i >= 2) || got != nil && *got != k {
			t.Errorf("use %d: %v", i+1, got)
		}
		if p := prepared.Load(); (p == 1) != (i >= 1) || p > 1 {
			t.Errorf("use %d: prepared %d times", i+1, p)
		}
	}
	if c.Find(&k, &other) == nil {
		t.Error("another holder of the key does not find it")
	}
	if made.Load() != 1 {
		t.Errorf("made %d times", made.Load())
	}
}

// Who uses a key while another goroutine makes its value goes on without one, however long that takes: it is made once, and counts once.
func TestMadeByOneAtATime(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	made := 0
	c := New(func() {}, func(k *int) *int {
		if made++; made == 1 {
			close(begun)
			<-end
		}
		v := *k
		return &v
	})
	var u Uses
	k := 7
	for range firstWanted - 1 {
		c.Find(&k, &u)
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.Find(&k, &u) })
	<-begun
	for range 2 * mostWanted {
		if c.Find(&k, &u) != nil {
			t.Error("a second value was made")
			break
		}
	}
	close(end)
	wg.Wait()
	if c.Find(&k, &u) == nil || made != 1 {
		t.Fatalf("made %d times", made)
	}
	for i := range c.set(&k) { // it is lost, and wanted again after twice as many uses
		c.set(&k)[i].Store(nil)
	}
	for i := range 2 * firstWanted {
		if got := c.Find(&k, &u); (got != nil) != (i == 2*firstWanted-1) {
			t.Errorf("use %d after it was lost: %v", i+1, got)
		}
	}
}

// Two holders of a key, as members of several groups are, may each make its value: one is kept, and both have that.
func TestHoldersAtOnce(t *testing.T) {
	begun, end := make(chan struct{}), make(chan struct{})
	first := true // of the builds, which are one after the other begun
	c := New(func() {}, func(k *int) *int {
		if first {
			first = false
			close(begun)
			<-end
		}
		v := *k
		return &v
	})
	var u, other Uses
	k := 7
	for range firstWanted - 1 {
		c.Find(&k, &u)
	}
	var late *int
	var wg sync.WaitGroup
	wg.Go(func() { late = c.Find(&k, &u) })
	<-begun
	var early *int
	for range firstWanted {
		early = c.Find(&k, &other)
	}
	close(end)
	wg.Wait()
	if early == nil || late != early || c.kept() != 1 {
		t.Errorf("%p and %p, and %d are kept", early, late, c.kept())
	}
}

// A key that is used all the time stays, however many others come and go.
func TestWhatIsUsedStays(t *testing.T) {
	c, made, _ := counted()
	var u Uses
	k := -1
	for range firstWanted {
		c.Find(&k, &u)
	}
	for i := range 50 * Most {
		var other Uses
		for range firstWanted {
			c.Find(&i, &other)
			if c.Find(&k, &u) == nil {
				t.Fatalf("lost after %d others", i)
			}
		}
	}
	if n := c.kept(); n != Most {
		t.Errorf("%d values are kept, want %d", n, Most)
	}
	if made.Load() != 50*Most+1 {
		t.Errorf("made %d", made.Load())
	}
}

// Keys that are three times as many as there are places, used in turn by several goroutines: there are no more values than places, and few are
// made again and again.
func TestMoreKeysThanPlaces(t *testing.T) {
	c, made, _ := counted()
	const keys, rounds = 3 * Most, 400
	var uses [keys]Uses
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range rounds / 4 {
				for k := range keys {
					if v := c.Find(&k, &uses[k]); v != nil && *v != k {
						t.Errorf("%d for %d", *v, k)
					}
				}
			}
		})
	}
	wg.Wait()
	if n := c.kept(); n > Most {
		t.Errorf("%d values are kept, at most %d should be", n, Most)
	}
	// 3, 6, 12, 24, 48, 96 and 96 and 96 misses are 381 of 400.
	if n := made.Load(); n > 9*keys {
		t.Errorf("made %d in %d uses", n, keys*rounds)
	}
}
