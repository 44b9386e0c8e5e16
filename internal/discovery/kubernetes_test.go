package discovery

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed31b3bfd0/slimgo/internal/discovery/kubetest"
)

// credentials are those of a pod, in files.
func credentials(t *testing.T, s *kubetest.Server) *API {
	dir := t.TempDir()
	a := &API{Server: s.URL, TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt")}
	write(t, a.TokenFile, kubetest.Token+"\n")
	write(t, a.CAFile, string(s.CA()))
	return a
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
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
	late := time.After(2 * time.Minute)
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
	late := time.After(2 * time.Minute)
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
	a := kubetest.New(t)
	a.Put(kubetest.Slice("slim-a", 46357, "slim-0=10.0.0.1", "!slim-1=10.0.0.2"))
	a.Put(kubetest.Slice("slim-b", 9090, "slim-2=10.0.0.3")) // another port
	a.Put(kubetest.Slice("slim-c", 46357, "slim-3=10.0.0.4"))
	a.Put(kubetest.Slice("slim-d", 46357, "slim-3=fd00::4")) // the same pod by IPv6
	odd := kubetest.Slice("slim-e", 46357, "slim-4=10.0.0.5", "slim-5=10.0.0.6", "slim-6=10.0.0.7", "slim-7=10.0.0.8")
	es := odd["endpoints"].([]any)
	es[0].(map[string]any)["targetRef"].(map[string]any)["kind"] = "Node"
	es[1].(map[string]any)["addresses"] = []any{}
	delete(es[2].(map[string]any), "targetRef")
	delete(es[3].(map[string]any)["conditions"].(map[string]any), "ready") // it is
	a.Put(odd)
	f := follow(t, kubernetes(credentials(t, a)))
	f.wants("slim-0=10.0.0.1:46357", "slim-3=10.0.0.4:46357", "slim-7=10.0.0.8:46357")
}

// Pods come, get ready, move to another address, and go, each seen by the watch alone. Rules: P-disc-3.
func TestWatchFollowsPods(t *testing.T) {
	a := kubetest.New(t)
	f := follow(t, kubernetes(credentials(t, a)))
	f.wants()
	a.Put(kubetest.Slice("slim-a", 46357, "!slim-0=10.0.0.1"))
	a.Put(kubetest.Slice("slim-a", 46357, "slim-0=10.0.0.1"))
	f.wants("slim-0=10.0.0.1:46357")
	a.Put(kubetest.Slice("slim-b", 46357, "slim-1=10.0.0.2"))
	f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357")
	a.Put(kubetest.Slice("slim-a", 46357, "slim-0=10.0.0.9"))
	f.wants("slim-0=10.0.0.9:46357", "slim-1=10.0.0.2:46357")
	a.Remove("slim-a")
	f.wants("slim-1=10.0.0.2:46357")
	if n := a.Lists(); n != 1 {
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
			a := kubetest.New(t)
			a.Put(kubetest.Slice("slim-a", 46357, "slim-0=10.0.0.1"))
			f := follow(t, kubernetes(credentials(t, a)))
			f.wants("slim-0=10.0.0.1:46357")
			a.Put(kubetest.Slice("slim-b", 46357, "slim-1=10.0.0.2"))
			f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357") // the watch is there
			a.Cut([]byte(garbage))
			a.Remove("slim-a")
			f.wants("slim-1=10.0.0.2:46357")
			if n := a.Lists(); n != 1 {
				t.Errorf("%d lists, want 1", n)
			}
		})
	}
}

// What is forgotten is listed again: before the watch, by an event of it, and between pages.
func TestForgottenVersionsAreListedAgain(t *testing.T) {
	a := kubetest.New(t)
	a.Put(kubetest.Slice("slim-a", 46357, "slim-0=10.0.0.1"))
	f := follow(t, kubernetes(credentials(t, a)))
	f.wants("slim-0=10.0.0.1:46357")
	a.Gate(http.StatusServiceUnavailable)
	a.Cut(nil)
	f.fails("the gate is closed (503)")
	a.Put(kubetest.Slice("slim-b", 46357, "slim-1=10.0.0.2"))
	a.Forget()
	a.Gate(0)
	f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357")
	f.fails("")
	a.Cut([]byte(`{"type":"ERROR","object":{"kind":"Status","code":410,"message":"too old resource version"}}`))
	a.Put(kubetest.Slice("slim-c", 46357, "slim-2=10.0.0.3"))
	f.wants("slim-0=10.0.0.1:46357", "slim-1=10.0.0.2:46357", "slim-2=10.0.0.3:46357")
}

// Token and authorities are replaced while the process runs.
func TestCredentialsAreReadAgain(t *testing.T) {
	a := kubetest.New(t)
	a.Put(kubetest.Slice("slim-a", 46357, "slim-0=10.0.0.1"))
	api := credentials(t, a)
	ca, _ := os.ReadFile(api.CAFile)
	write(t, api.CAFile, "no certificate")
	f := follow(t, kubernetes(api))
	f.fails("holds no certificate")
	write(t, api.CAFile, string(ca))
	f.wants("slim-0=10.0.0.1:46357")
	a.Accept("two")
	a.Cut(nil)
	f.fails("Unauthorized (401)")
	a.Put(kubetest.Slice("slim-a", 46357, "slim-0=10.0.0.2"))
	write(t, api.TokenFile, "two")
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
	for _, s := range []map[string]any{kubetest.Slice("a", 1, "p=10.0.0.1"), {}, {"endpoints": []any{nil}}} {
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
