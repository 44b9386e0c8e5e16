package discovery

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// Kubernetes finds the pods behind a service by its EndpointSlices, which it lists and then watches. The name of a pod is its
// node id. Rules: P-disc-3.
//
//	list ──resourceVersion──▶ watch ──end, or a fault──▶ watch from where that was
//	  ▲                         │ 410: what has changed since is not known any more
//	  └─────────────────────────┘
type Kubernetes struct {
	API                *API
	Namespace, Service string
	Port               uint16 // of the slices that count, and of the peers

	// Pause is the first pause after a failure; each further one doubles it, up to sixty of the first. 0: 1 s.
	Pause time.Duration
}

const (
	kubePage    = 100              // slices in an answer
	kubeWatch   = 5 * time.Minute  // after which the server is to end a watch
	kubeTimeout = 30 * time.Second // of an answer; a watch has that much more
	kubePauses  = 60               // times the first pause is the longest

	maxName   = 253 // bytes of the name of an object
	maxSlices = 4096
	maxPages  = maxSlices
	maxPods   = 1 << 16  // of all slices
	maxPage   = 32 << 20 // bytes of an answer: slices with a thousand endpoints each
	maxEvent  = 2 << 20  // bytes of an event, or a slice: it has a thousand endpoints
)

// errGone says that the changes since a version are not known any more.
var errGone = errors.New("the version is too old")

// endpointSlice is what is read of a discovery.k8s.io/v1 EndpointSlice.
type endpointSlice struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
	} `json:"metadata"`
	Endpoints []struct {
		Addresses  []string `json:"addresses"`
		Conditions struct {
			Ready *bool `json:"ready"` // absent: it is
		} `json:"conditions"`
		TargetRef *struct {
			Kind string `json:"kind"`
			Name string `json:"name"`
		} `json:"targetRef"`
	} `json:"endpoints"`
	Ports []struct {
		Port *int64 `json:"port"`
	} `json:"ports"`
}

// peers are the pods of a slice that can be dialled, none if it is not of that port.
func (s *endpointSlice) peers(port uint16) (all []Peer) {
	counts := false
	for _, p := range s.Ports {
		counts = counts || p.Port != nil && *p.Port == int64(port)
	}
	if !counts {
		return nil
	}
	for _, e := range s.Endpoints {
		ready := e.Conditions.Ready == nil || *e.Conditions.Ready
		if !ready || e.TargetRef == nil || e.TargetRef.Kind != "Pod" || e.TargetRef.Name == "" || len(e.Addresses) == 0 {
			continue
		}
		all = append(all, Peer{Node: e.TargetRef.Name, Address: net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(port)))})
	}
	return all
}

// status is a meta/v1 Status.
type status struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

func (s *status) error() error {
	if s.Code == http.StatusGone {
		return errGone
	}
	return fmt.Errorf("the API server says: %.200s (%d)", s.Message, s.Code)
}

// known is what Run knows of the slices. Owned by it.
type known struct {
	peers   map[string][]Peer // by slice
	pods    int               // in peers, maxPods at most
	version string            // resourceVersion
	listed  bool

	failures int           // in a row
	pause    time.Duration // after the last of them
}

// put is how a slice is now.
func (s *known) put(x *endpointSlice, k *Kubernetes) error {
	if len(x.Metadata.Name) > maxName {
		return fmt.Errorf("an EndpointSlice has a name of %d bytes", len(x.Metadata.Name))
	}
	s.remove(x.Metadata.Name)
	all := x.peers(k.Port)
	if len(s.peers) >= maxSlices || s.pods+len(all) > maxPods {
		return fmt.Errorf("service %s/%s has more than %d EndpointSlices, or %d pods", k.Namespace, k.Service, maxSlices, maxPods)
	}
	s.peers[x.Metadata.Name] = all
	s.pods += len(all)
	return nil
}

func (s *known) remove(name string) {
	s.pods -= len(s.peers[name])
	delete(s.peers, name)
}

// Run implements Source.
func (k *Kubernetes) Run(ctx context.Context, told func([]Peer), failed func(error)) {
	r := &reports{told: told, failed: failed}
	first := k.Pause
	if first == 0 {
		first = time.Second
	}
	var s known
	for ctx.Err() == nil {
		var err error
		watched := s.listed
		if watched {
			err = k.watch(ctx, &s, r)
		} else {
			err = k.list(ctx, &s, r)
		}
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			if watched { // a list alone is no sign that the watch after it will work
				s.failures = 0
				r.outcome(nil)
			}
			continue
		case errors.Is(err, errGone):
			s.listed = false
		default:
			r.outcome(err)
		}
		s.failures++
		s.pause = backoff(s.failures, first, kubePauses*first, rand.Float64)
		if !sleep(ctx, s.pause) {
			return
		}
	}
}

// list learns all slices there are, in pages.
func (k *Kubernetes) list(ctx context.Context, s *known, r *reports) error {
	ctx, cancel := context.WithTimeout(ctx, kubeTimeout)
	defer cancel()
	q := k.query()
	q.Set("limit", strconv.Itoa(kubePage))
	all := known{peers: map[string][]Peer{}}
	for range maxPages {
		body, err := k.API.get(ctx, k.path(), q)
		if err != nil {
			return err
		}
		var page struct {
			Metadata struct {
				ResourceVersion string `json:"resourceVersion"`
				Continue        string `json:"continue"`
			} `json:"metadata"`
			Items json.RawMessage `json:"items"`
		}
		err = json.NewDecoder(&bounded{body, maxPage}).Decode(&page)
		_ = body.Close()
		if err == nil {
			err = all.add(page.Items, k)
		}
		if err != nil {
			return fmt.Errorf("list of EndpointSlices: %w", err)
		}
		if page.Metadata.Continue == "" {
			s.peers, s.pods, s.version, s.listed = all.peers, all.pods, page.Metadata.ResourceVersion, true
			s.tell(r)
			return nil
		}
		q.Set("continue", page.Metadata.Continue)
	}
	return fmt.Errorf("list of EndpointSlices: it has no end after %d pages", maxPages)
}

// add takes the slices of a page, one after the other: of those that hold nothing there is room for very many in its bytes.
func (s *known) add(page []byte, k *Kubernetes) error {
	if len(page) == 0 || string(page) == "null" {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(page))
	if open, err := d.Token(); err != nil || open != json.Delim('[') {
		return errors.New("items are no list")
	}
	for d.More() {
		var raw json.RawMessage
		if err := d.Decode(&raw); err != nil {
			return err
		}
		if len(raw) > maxEvent {
			return fmt.Errorf("an EndpointSlice has more than %d bytes", maxEvent)
		}
		var x endpointSlice
		if err := json.Unmarshal(raw, &x); err != nil {
			return err
		}
		if err := s.put(&x, k); err != nil {
			return err
		}
	}
	return nil
}

// watch follows the changes since a version. nil: the server has ended it in order.
func (k *Kubernetes) watch(ctx context.Context, s *known, r *reports) error {
	ctx, cancel := context.WithTimeout(ctx, kubeWatch+kubeTimeout)
	defer cancel()
	q := k.query()
	q.Set("watch", "1")
	q.Set("allowWatchBookmarks", "true")
	q.Set("resourceVersion", s.version)
	q.Set("timeoutSeconds", strconv.Itoa(int(kubeWatch/time.Second)))
	body, err := k.API.get(ctx, k.path(), q)
	if err != nil {
		return err
	}
	defer func() { _ = body.Close() }()
	r.outcome(nil)
	limited := &bounded{body, maxEvent}
	events, began := json.NewDecoder(limited), time.Now()
	defer func() {
		if time.Since(began) > s.pause { // it was worth its wait, however it ended and though nothing changed
			s.failures = 0
		}
	}()
	for {
		var e struct {
			Type   string          `json:"type"`
			Object json.RawMessage `json:"object"`
		}
		limited.left = maxEvent
		switch err := events.Decode(&e); {
		case errors.Is(err, io.EOF) && time.Since(began) < time.Second:
			return errors.New("watch of EndpointSlices: the API server has ended it at once")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("watch of EndpointSlices: %w", err)
		}
		if err := k.event(e.Type, e.Object, s); err != nil {
			return err
		}
		s.failures = 0
		s.tell(r)
	}
}

// event takes one change into s.
func (k *Kubernetes) event(kind string, object []byte, s *known) error {
	if kind == "ERROR" {
		var x status
		_ = json.Unmarshal(object, &x) // without a code it is an error all the same
		return x.error()
	}
	var x endpointSlice
	if err := json.Unmarshal(object, &x); err != nil {
		return fmt.Errorf("watch of EndpointSlices: %w", err)
	}
	switch kind {
	case "ADDED", "MODIFIED":
		if err := s.put(&x, k); err != nil {
			s.listed = false // from then on nothing is known for certain
			return err
		}
	case "DELETED":
		s.remove(x.Metadata.Name)
	}
	if x.Metadata.ResourceVersion != "" { // all a bookmark has
		s.version = x.Metadata.ResourceVersion
	}
	return nil
}

// tell tells the pods of all slices. One that is in several, by addresses of both families, counts as in the first.
func (s *known) tell(r *reports) {
	var all []Peer
	for _, name := range slices.Sorted(maps.Keys(s.peers)) {
		all = append(all, s.peers[name]...)
	}
	r.peers(all)
}

func (k *Kubernetes) path() string {
	return "/apis/discovery.k8s.io/v1/namespaces/" + url.PathEscape(k.Namespace) + "/endpointslices"
}

func (k *Kubernetes) query() url.Values {
	return url.Values{"labelSelector": {"kubernetes.io/service-name=" + k.Service}}
}

// bounded is a reader of so many bytes, after which it fails: what a server sends is not trusted to end.
type bounded struct {
	from io.Reader
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the API server sends more than is read")
	}
	n, err := b.from.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}
