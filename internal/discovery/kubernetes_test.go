package discovery

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// apiServer is what of an API server a watcher of EndpointSlices sees: versions that grow with each change, pages of a list that
// are all of one version, events since a version as long as they are kept, bookmarks, 410 after that, and tokens.
type apiServer struct {
	*httptest.Server
	t *testing.T

	mu      sync.Mutex
	changed *sync.Cond
	token   string
	version int
	kept    int                       // events up to this version are forgotten
	slices  map[string]map[string]any // by name
	events  []apiEvent
	page    int // slices in a page
	lists   int
	epoch   int    // watches of an older one end
	garbage []byte // sent by the next watch before it ends
	gate    int    // answers with this status; 0: none
}

type apiEvent struct {
	version int
	kind    string
	object  map[string]any
}

func newAPIServer(t *testing.T) *apiServer {
	a := &apiServer{t: t, token: "one", version: 100, slices: map[string]map[string]any{}, page: 2}
	a.changed = sync.NewCond(&a.mu)
	a.Server = httptest.NewTLSServer(http.HandlerFunc(a.serve))
	t.Cleanup(func() {
		a.cut(nil)
		a.CloseClientConnections()
		a.Close()
	})
	return a
}

// api has the credentials of a pod in files.
func (a *apiServer) api() *API {
	dir := a.t.TempDir()
	x := &API{Server: a.URL, TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt")}
	a.write(x.TokenFile, "one\n")
	a.write(x.CAFile, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})))
	return x
}

func (a *apiServer) write(file, text string) {
	a.t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

// slice is an EndpointSlice in the shape in which the endpoint slice controller writes it.
func slice(name string, port int, pods ...string) map[string]any {
	var endpoints []any
	for _, p := range pods { // NAME=ADDRESS, with ! in front if it is not ready
		id, addr, _ := strings.Cut(strings.TrimPrefix(p, "!"), "=")
		ready := !strings.HasPrefix(p, "!")
		endpoints = append(endpoints, map[string]any{
			"addresses": []string{addr}, "conditions": map[string]any{"ready": ready, "serving": ready, "terminating": false},
			"nodeName": "worker-1", "targetRef": map[string]any{"kind": "Pod", "namespace": "mesh", "name": id, "uid": "c0ffee"},
		})
	}
	return map[string]any{
		"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
		"metadata": map[string]any{"name": name, "namespace": "mesh", "generateName": "slim-",
			"labels": map[string]any{"kubernetes.io/service-name": "slim", "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io"}},
		"endpoints": endpoints, "ports": []any{map[string]any{"name": "data", "protocol": "TCP", "port": port}},
	}
}

// put changes a slice; nil pods: it is deleted.
func (a *apiServer) put(s map[string]any) {
	a.mu.Lock()
	defer a.mu.Unlock()
	name := s["metadata"].(map[string]any)["name"].(string)
	kind := "MODIFIED"
	if a.slices[name] == nil {
		kind = "ADDED"
	}
	a.log(kind, s)
	a.slices[name] = s
}

func (a *apiServer) remove(name string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.log("DELETED", a.slices[name])
	delete(a.slices, name)
}

func (a *apiServer) log(kind string, s map[string]any) {
	a.version++
	s["metadata"].(map[string]any)["resourceVersion"] = strconv.Itoa(a.version)
	a.events = append(a.events, apiEvent{a.version, kind, s})
	a.changed.Broadcast()
}

// cut ends all watches, after they have sent garbage.
func (a *apiServer) cut(garbage []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.epoch++
	a.garbage = garbage
	a.changed.Broadcast()
}

// forget compacts: what is older than now is not known any more.
func (a *apiServer) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept, a.events = a.version, nil
}

func (a *apiServer) set(f func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
}

// listed is how often the list was asked for.
func (a *apiServer) listed() (n int) {
	a.set(func() { n = a.lists })
	return n
}

func refuse(w http.ResponseWriter, code int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": reason, "code": code})
}

func (a *apiServer) serve(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	q := r.URL.Query()
	switch {
	case a.gate != 0:
		refuse(w, a.gate, "the gate is closed")
	case r.Header.Get("Authorization") != "Bearer "+a.token:
		refuse(w, http.StatusUnauthorized, "Unauthorized")
	case r.URL.Path != "/apis/discovery.k8s.io/v1/namespaces/mesh/endpointslices" || q.Get("labelSelector") != "kubernetes.io/service-name=slim":
		refuse(w, http.StatusNotFound, "no such thing")
	case q.Get("watch") != "":
		a.serveWatch(w, r, q.Get("resourceVersion"))
	default:
		a.lists++
		a.serveList(w, q.Get("continue"))
	}
}

func (a *apiServer) serveList(w http.ResponseWriter, token string) {
	from := 0
	if token != "" {
		at := strings.Split(token, ".")
		from, _ = strconv.Atoi(at[0])
		if at[1] != strconv.Itoa(a.version) {
			refuse(w, http.StatusGone, "The provided continue parameter is too old")
			return
		}
	}
	var names []string
	for n := range a.slices {
		names = append(names, n)
	}
	slices.Sort(names)
	meta := map[string]any{"resourceVersion": strconv.Itoa(a.version)}
	to := min(from+a.page, len(names))
	if to < len(names) {
		meta["continue"] = fmt.Sprintf("%d.%d", to, a.version)
	}
	items := []any{}
	for _, n := range names[from:to] {
		items = append(items, a.slices[n])
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "EndpointSliceList", "metadata": meta, "items": items})
}

func (a *apiServer) serveWatch(w http.ResponseWriter, r *http.Request, from string) {
	version, err := strconv.Atoi(from)
	if err != nil || version < a.kept {
		refuse(w, http.StatusGone, "too old resource version")
		return
	}
	epoch := a.epoch
	send := func(x any) {
		_ = json.NewEncoder(w).Encode(x)
		w.(http.Flusher).Flush()
	}
	send(map[string]any{"type": "BOOKMARK", "object": map[string]any{"kind": "EndpointSlice", "metadata": map[string]any{"resourceVersion": from}}})
	stop := context.AfterFunc(r.Context(), func() { a.cut(nil) })
	defer stop()
	for a.epoch == epoch && r.Context().Err() == nil {
		for _, e := range a.events {
			if e.version > version {
				version = e.version
				send(map[string]any{"type": e.kind, "object": e.object})
			}
		}
		a.changed.Wait()
	}
	if len(a.garbage) > 0 {
		_, _ = w.Write(a.garbage)
		a.garbage = nil
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler) // in the middle of an answer
	}
}

// follower runs a Source and shows what it tells.
type follower struct {
	t      *testing.T
	states chan []Peer
	faults chan string
}

func follow(t *testing.T, s Source) *follower {
	f := &follower{t, make(chan []Peer, 64), make(chan string, 64)}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Run(ctx, func(p []Peer) { f.states <- p }, func(err error) {
			if err == nil {
				f.faults <- ""
				return
			}
			f.faults <- err.Error()
		})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// wants waits for a state with exactly these peers, NAME=ADDRESS; states before it may differ.
func (f *follower) wants(want ...string) {
	f.t.Helper()
	late := time.After(10 * time.Second)
	var last []string
	for {
		select {
		case all := <-f.states:
			last = nil
			for _, p := range all {
				last = append(last, p.Node+"="+p.Address)
			}
			if slices.Equal(last, want) {
				return
			}
		case <-late:
			f.t.Fatalf("the last state told is %q, want %q", last, want)
		}
	}
}

// fails waits for a failure with that text in it, or, for "", for the end of all.
func (f *follower) fails(text string) {
	f.t.Helper()
	late := time.After(10 * time.Second)
	for {
		select {
		case got := <-f.faults:
			if text == "" && got == "" || text != "" && strings.Contains(got, text) {
				return
			}
		case <-late:
			f.t.Fatalf("no failure %q was told", text)
		}
	}
}

func kubernetes(a *API) *Kubernetes {
	return &Kubernetes{API: a, Namespace: "mesh", Service: "slim", Port: 46357, Pause: time.Millisecond}
}

// Which endpoints count. Rules: P-disc-3.
func TestPeersOfSlices(t *testing.T) {
	a := newAPIServer(t)
	a.put(slice("slim-a", 46357, "slim-0=10.0.0.1", "!slim-1=10.0.0.2"))
	a.put(slice("slim-b", 9090, "slim-2=10.0.0.3")) // another port
	a.put(slice("slim-c", 46357, "slim-3=10.0.0.4"))
	a.put(slice("slim-d", 46357, "slim-3=fd00::4")) // the same pod by IPv6
	odd := slice("slim-e", 46357, "slim-4=10.0.0.5", "slim-5=10.0.0.6", "slim-6=10.0.0.7", "slim-7=10.0.0.8")
	es := odd["endpoints"].([]any)
	es[0].(map[string]any)["targetRef"].(map[string]any)["kind"] = "Node"
	es[1].(map[string]any)["addresses"] = []string{}
	delete(es[2].(map[string]any), "targetRef")
	delete(es[3].(map[string]any)["conditions"].(map[string]any), "ready") // it is
	a.put(odd)
	f := follow(t, kubernetes(a.api()))
	f.wants("slim-0=10.0.0.1:46357", "slim-3=10.0.0.4:46357", "slim-7=10.0.0.8:46357")
}

// Pods come, get ready, move to another address, and go, each seen by the watch alone. Rules: P-disc-3.
func TestWatchFollowsPods(t *testing.T) {
	a := newAPIServer(t)
	f := follow(t, kubernetes(a.api()))
	f.wants()
	a.put(slice("slim-a", 46357, "!slim-0=10.0.0.1"))
	a.put(slice("slim-a", 46357, "slim-0=10.0.0.1"))
	f.wants("slim-0=10.0.0.1:46357")
	a.put(slice("slim-b", 46357, "slim-1=10.0.0.2"))
	f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357")
	a.put(slice("slim-a", 46357, "slim-0=10.0.0.9"))
	f.wants("slim-0=10.0.0.9:46357", "slim-1=10.0.0.2:46357")
	a.remove("slim-a")
	f.wants("slim-1=10.0.0.2:46357")
	if n := a.listed(); n != 1 {
		t.Errorf("%d lists, want 1: the watch tells the rest", n)
	}
}

// A watch that ends, wherever, goes on where it was; what has changed meanwhile is not missed.
func TestWatchGoesOnAfterItsEnd(t *testing.T) {
	for name, garbage := range map[string]string{
		"in order": "", "within an event": `{"type":"MODIFIED","object":{"metadata":{"name":"slim-a","reso`,
		"garbage": "<html>502 Bad Gateway</html>", "another type": `{"type":[]}`, "an endless event": `{"type":"` + strings.Repeat("x", 3<<20),
		"error event": `{"type":"ERROR","object":{"kind":"Status","code":500,"message":"etcdserver: leader changed"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			a := newAPIServer(t)
			a.put(slice("slim-a", 46357, "slim-0=10.0.0.1"))
			f := follow(t, kubernetes(a.api()))
			f.wants("slim-0=10.0.0.1:46357")
			a.put(slice("slim-b", 46357, "slim-1=10.0.0.2"))
			f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357") // the watch is there
			a.cut([]byte(garbage))
			a.remove("slim-a")
			f.wants("slim-1=10.0.0.2:46357")
			if n := a.listed(); n != 1 {
				t.Errorf("%d lists, want 1", n)
			}
		})
	}
}

// What is forgotten is listed again: before the watch, by an event of it, and between pages.
func TestForgottenVersionsAreListedAgain(t *testing.T) {
	a := newAPIServer(t)
	a.put(slice("slim-a", 46357, "slim-0=10.0.0.1"))
	f := follow(t, kubernetes(a.api()))
	f.wants("slim-0=10.0.0.1:46357")
	a.set(func() { a.gate = http.StatusServiceUnavailable })
	a.cut(nil)
	f.fails("the gate is closed (503)")
	a.put(slice("slim-b", 46357, "slim-1=10.0.0.2"))
	a.forget()
	a.set(func() { a.gate = 0 })
	f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357")
	f.fails("")
	a.cut([]byte(`{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}`))
	a.put(slice("slim-c", 46357, "slim-2=10.0.0.3"))
	f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357", "slim-2=10.0.0.3:46357")
}

// Token and authorities are replaced while the process runs.
func TestCredentialsAreReadAgain(t *testing.T) {
	a := newAPIServer(t)
	a.put(slice("slim-a", 46357, "slim-0=10.0.0.1"))
	api := a.api()
	ca, _ := os.ReadFile(api.CAFile)
	a.write(api.CAFile, "no certificate")
	f := follow(t, kubernetes(api))
	f.fails("holds no certificate")
	a.write(api.CAFile, string(ca))
	f.wants("slim-0=10.0.0.1:46357")
	a.set(func() { a.token = "two" })
	a.cut(nil)
	f.fails("Unauthorized (401)")
	a.put(slice("slim-a", 46357, "slim-0=10.0.0.2"))
	a.write(api.TokenFile, "two")
	f.wants("slim-0=10.0.0.2:46357")
	f.fails("")
}

func TestInCluster(t *testing.T) {
	env := map[string]string{"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
	a, err := InCluster(func(k string) (string, bool) { v, ok := env[k]; return v, ok })
	if err != nil || a.Server != "https://[fd00::1]:443" || a.TokenFile == "" || a.CAFile == "" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err := InCluster(func(string) (string, bool) { return "", false }); err == nil {
		t.Error("no error outside of a cluster")
	}
}

// Whatever a server sends, nothing but peers with names and addresses comes of it.
func FuzzEvents(f *testing.F) {
	for _, s := range []map[string]any{slice("a", 1, "p=10.0.0.1"), {}, {"endpoints": []any{nil}}} {
		b, err := json.Marshal(s)
		if err != nil {
			f.Fatal(err)
		}
		for _, kind := range []string{"ADDED", "DELETED", "BOOKMARK", "ERROR"} {
			f.Add(kind, b)
		}
	}
	f.Fuzz(func(t *testing.T, kind string, object []byte) {
		s := known{peers: map[string][]Peer{}}
		k := &Kubernetes{Port: 1}
		_ = k.event(kind, object, &s)
		s.tell(&reports{told: func(all []Peer) {
			for _, p := range all {
				if p.Node == "" || p.Address == "" {
					t.Errorf("%q: peer %+v", object, p)
				}
			}
		}})
	})
}
