package identity

import (
	"sync"
	"time"

	"github.com/seed31b3bfd0/slimgo/wire"
)

// Pace lets things of a kind happen as often as Rate says, in a second, and Burst of them at once after a time in which none did.
// Safe for all.
type Pace struct {
	Rate, Burst float64

	mu   sync.Mutex
	used float64   // guarded by mu: of Burst
	at   time.Time // guarded by mu
}

// Take reports whether another one may happen now, and counts it then.
func (p *Pace) Take(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest(now)
	if p.used+1 > p.Burst {
		return false
	}
	p.used++
	return true
}

// rest lets time pass. mu is held.
func (p *Pace) rest(now time.Time) {
	if d := now.Sub(p.at); d > 0 {
		p.used = max(0, p.used-d.Seconds()*p.Rate)
		p.at = now
	}
}

// idle reports whether nothing of Burst is used.
func (p *Pace) idle(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rest(now)
	return p.used == 0
}

// Paces are a Pace for each of those who say something: of Rate and Burst. Their owner's.
type Paces struct {
	Rate, Burst float64
	Most        int // that are told apart
	by          map[wire.Name]*Pace
}

// Take is that of the pace of n.
func (p *Paces) Take(n wire.Name, now time.Time) bool {
	one := p.by[n]
	if one == nil {
		if len(p.by) >= p.Most {
			p.tidy(now)
		}
		if p.by == nil {
			p.by = map[wire.Name]*Pace{}
		}
		one = &Pace{Rate: p.Rate, Burst: p.Burst}
		p.by[n] = one
	}
	return one.Take(now)
}

// tidy makes room: those go whose pace is that of somebody new, or all.
func (p *Paces) tidy(now time.Time) {
	for n, one := range p.by {
		if one.idle(now) {
			delete(p.by, n)
		}
	}
	if len(p.by) >= p.Most {
		clear(p.by)
	}
}

// Forget forgets one.
func (p *Paces) Forget(n wire.Name) { delete(p.by, n) }
