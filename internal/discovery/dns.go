package discovery

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Resolver is what DNS asks; *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, addrs []*net.SRV, err error)
}

// DNS finds peers by a name that is theirs together, such as that of a headless service, and resolves it again and again.
// Their node ids are not known: whoever dials them learns these. Rules: P-disc-4.
type DNS struct {
	// Name has an address for each peer (A and AAAA). If it begins with "_", as in _slim._tcp.example.org, it has a service
	// record for each (RFC 2782), whose targets are resolved for their addresses.
	Name string
	// Port is the port of all peers; not used for service records, which have their own.
	Port uint16
	// Interval is the time between two questions. After failures it is longer, up to a minute.
	Interval time.Duration
	// Resolver is asked; nil: the system's.
	Resolver Resolver
}

const (
	dnsTimeout = 5 * time.Second // of one question
	dnsLongest = time.Minute     // between two
)

// Run implements Source.
//
// An answer without addresses, or that there is no such name, is an answer: there are no peers. Without an answer they stay.
func (d *DNS) Run(ctx context.Context, told func([]Peer), failed func(error)) {
	r := &reports{told: told, failed: failed}
	for failures := 0; ; {
		all, err := d.ask(ctx)
		if ctx.Err() != nil {
			return
		}
		r.outcome(err)
		pause := d.Interval
		if err != nil {
			failures++
			pause = max(pause, backoff(failures, time.Second, dnsLongest, rand.Float64))
		} else {
			failures = 0
			r.peers(all)
		}
		if !sleep(ctx, pause) {
			return
		}
	}
}

func (d *DNS) ask(ctx context.Context) ([]Peer, error) {
	ctx, cancel := context.WithTimeout(ctx, dnsTimeout)
	defer cancel()
	if !strings.HasPrefix(d.Name, "_") {
		return d.addresses(ctx, d.Name, d.Port)
	}
	_, records, err := d.resolver().LookupSRV(ctx, "", "", d.Name)
	if notFound(err) {
		return nil, nil
	} else if err != nil && len(records) == 0 { // with some it has left out others that are malformed
		return nil, fmt.Errorf("service records of %s: %w", d.Name, err)
	}
	var all []Peer
	for _, s := range records[:min(len(records), MaxPeers+1)] {
		of, err := d.addresses(ctx, s.Target, s.Port)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	return all, nil
}

// addresses are those of a host: of each family, since a peer that has both may listen on either. Both lead to one node, of
// which the mesh keeps one link.
func (d *DNS) addresses(ctx context.Context, host string, port uint16) ([]Peer, error) {
	ips, err := d.resolver().LookupNetIP(ctx, "ip", host)
	if notFound(err) {
		return nil, nil
	} else if err != nil {
		return nil, fmt.Errorf("addresses of %s: %w", host, err)
	}
	var all []Peer
	for _, ip := range ips[:min(len(ips), MaxPeers+1)] {
		all = append(all, Peer{Address: net.JoinHostPort(ip.Unmap().String(), strconv.Itoa(int(port)))})
	}
	return all, nil
}

func (d *DNS) resolver() Resolver {
	if d.Resolver == nil {
		return net.DefaultResolver
	}
	return d.Resolver
}

func notFound(err error) bool {
	var e *net.DNSError
	return errors.As(err, &e) && e.IsNotFound
}
