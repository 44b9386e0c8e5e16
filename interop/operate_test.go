//go:build interop

package interop

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/admin"
)

// ask asks a node as an operator does. Each question is on a connection of its own: none is left in the node.
func (n *node) ask(ctx context.Context, path string, answer func(io.Reader) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+n.health+path, http.NoBody)
	if err != nil {
		return err
	}
	r.Close = true
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", r.URL, resp.Status)
	}
	return answer(resp.Body)
}

// status is what the node's status page shows of its service.
func (n *node) status(ctx context.Context) (st admin.ServiceStatus, err error) {
	for deadline := time.Now().Add(limit); ; {
		var all admin.Status
		if err := n.ask(ctx, "/status.json?limit=1000", func(r io.Reader) error { return json.NewDecoder(r).Decode(&all) }); err != nil {
			return st, err
		}
		if len(all.Services) == 1 && all.Services[0].Error == "" {
			return all.Services[0], nil
		}
		if len(all.Services) != 1 || time.Now().After(deadline) { // loops of a busy machine may be too late with their answer
			return st, fmt.Errorf("%s: %+v", n.label, all.Services)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// metrics are the node's, by name and labels as they stand there.
func (n *node) metrics(t *testing.T) map[string]float64 {
	t.Helper()
	m := map[string]float64{}
	err := n.ask(t.Context(), "/metrics", func(r io.Reader) error {
		lines := bufio.NewScanner(r)
		for lines.Scan() {
			name, value, ok := strings.Cut(lines.Text(), " ")
			if x, err := strconv.ParseFloat(value, 64); ok && err == nil {
				m[name] = x
			}
		}
		return lines.Err()
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// holding is what a node holds on to.
type holding struct {
	names   map[string]map[string]int // holders of each name, by kind
	numbers map[string]float64        // what must not grow
	heap    float64                   // bytes, after a collection
}

// counted are the metrics that a node must come back to, besides those of what waits.
var counted = []string{"go_goroutines", "process_open_fds", `slim_sockets{service="slim/0"}`, `slim_names{service="slim/0"}`,
	`slim_queue_messages{service="slim/0"}`, `slim_queue_bytes{service="slim/0"}`, `slim_held_bytes{service="slim/0"}`,
	`slim_unfinished_bytes{service="slim/0"}`, `slim_panics_total{service="slim/0"}`}

func (n *node) holds(t *testing.T) holding {
	t.Helper()
	st, err := n.status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := n.ask(t.Context(), "/debug/pprof/heap?gc=1", func(io.Reader) error { return nil }); err != nil {
		t.Fatal(err)
	}
	h := holding{names: map[string]map[string]int{}, numbers: map[string]float64{}}
	for _, x := range st.Names {
		h.names[x.Name] = x.Holders
	}
	m := n.metrics(t)
	for _, name := range counted {
		x, ok := m[name]
		if !ok {
			t.Fatalf("%s: no metric %s", n.label, name)
		}
		h.numbers[name] = x
	}
	h.heap = m["go_memstats_heap_alloc_bytes"]
	return h
}

// passing is what looking takes itself, at times: the connection of the request before, which is being closed.
var passing = map[string]float64{"go_goroutines": 2, "process_open_fds": 1}

// settled returns the most that the node holds once that no longer changes, but for what looking takes.
func (n *node) settled(t *testing.T) holding {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for most, same := n.holds(t), 0; ; {
		<-tick.C
		h := n.holds(t)
		up, down := h.above(&most), most.above(&h)
		if same++; up != "" || down != "" {
			most, same = h, 0
		}
		for name, x := range h.numbers {
			most.numbers[name] = max(most.numbers[name], x)
		}
		most.heap = max(most.heap, h.heap)
		if same == 3 {
			return most
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: what it holds does not settle: %v; at last %s", n.label, h, cmp.Or(up, down))
		}
	}
}

// above is grown, of what is more than looking takes.
func (h *holding) above(was *holding) string {
	most := holding{names: was.names, numbers: maps.Clone(was.numbers)}
	for name, x := range passing {
		most.numbers[name] += x
	}
	return h.grown(most)
}

// grown says in what h is more than was, or other in its names; "": in nothing.
func (h *holding) grown(was holding) string {
	for _, name := range slices.Sorted(maps.Keys(h.numbers)) {
		if h.numbers[name] > was.numbers[name] {
			return fmt.Sprintf("%s is %v, was %v", name, h.numbers[name], was.numbers[name])
		}
	}
	if !maps.EqualFunc(h.names, was.names, maps.Equal[map[string]int]) {
		return fmt.Sprintf("names are %v, were %v", h.names, was.names)
	}
	return ""
}

// moreHeap is what a node may hold more than before, in bytes: memory that it keeps for the next message.
const moreHeap = 8 << 20

// wantAgain wants the node to come back to what it has held.
func (n *node) wantAgain(t *testing.T, was holding) {
	t.Helper()
	h := n.eventually(t, func(h holding) string {
		if h.heap > was.heap+moreHeap {
			return fmt.Sprintf("heap is %v, was %v", h.heap, was.heap)
		}
		return h.grown(was)
	})
	t.Logf("%s: before %v, heap %.0f KiB; after %v, heap %.0f KiB", n.label, was.numbers, was.heap/1024, h.numbers, h.heap/1024)
}

// wantNoNames wants the node to know no name any more.
func (n *node) wantNoNames(t *testing.T) {
	t.Helper()
	n.eventually(t, func(h holding) string {
		if len(h.names) == 0 {
			return ""
		}
		return fmt.Sprintf("names %v", h.names)
	})
}

// eventually waits until what the node holds gives no cause for complaint, and returns that.
func (n *node) eventually(t *testing.T, complaint func(holding) string) holding {
	t.Helper()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	deadline := time.Now().Add(limit)
	for {
		h := n.holds(t)
		c := complaint(h)
		if c == "" {
			return h
		}
		if time.Now().After(deadline) {
			t.Errorf("%s: %s", n.label, c)
			return h
		}
		<-tick.C
	}
}
