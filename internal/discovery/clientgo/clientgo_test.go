// Package clientgo holds package discovery, and the API server of its tests, against client-go: a module of its own, as nothing
// else here has to do with it.
//
//	discoveryv1.EndpointSlice ──JSON──▶ kubetest.Server ──list, watch──▶ client-go's reflector ──▶ what peers there are,
//	                                                    └─────────────▶ discovery.Kubernetes ───▶ both must say the same
package clientgo

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	typed "k8s.io/client-go/kubernetes/typed/discovery/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/pager"
	"k8s.io/klog/v2"

	"github.com/seed31b3bfd0/slimgo/internal/discovery"
	"github.com/seed31b3bfd0/slimgo/internal/discovery/kubetest"
)

const port = 46357

func TestMain(m *testing.M) {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard) // reflectors tell of each watch that a test cuts
	os.Exit(m.Run())
}

// client is client-go's, of the service that the server has.
func client(t *testing.T, s *kubetest.Server) typed.EndpointSliceInterface {
	t.Helper()
	c, err := typed.NewForConfig(&rest.Config{Host: s.URL, BearerToken: kubetest.Token, TLSClientConfig: rest.TLSClientConfig{CAData: s.CA()}})
	if err != nil {
		t.Fatal(err)
	}
	return c.EndpointSlices(kubetest.Namespace)
}

// selecting adds what the service's slices are labelled with.
func selecting(o metav1.ListOptions) metav1.ListOptions {
	o.LabelSelector = discoveryv1.LabelServiceName + "=" + kubetest.Service
	return o
}

// reflect keeps a store of client-go's like what the server has.
func reflect(t *testing.T, s *kubetest.Server) cache.Store {
	c := client(t, s)
	store := cache.NewStore(cache.MetaNamespaceKeyFunc)
	lw := &cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			return c.List(ctx, selecting(o))
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
			return c.Watch(ctx, selecting(o))
		},
	}
	r := cache.NewReflectorWithOptions(lw, &discoveryv1.EndpointSlice{}, store,
		cache.ReflectorOptions{Backoff: &wait.Backoff{Duration: time.Millisecond, Factor: 1, Steps: 1, Cap: time.Millisecond}})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { r.RunWithContext(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return store
}

// found is what our source has told last.
type found struct {
	mu    sync.Mutex
	peers []discovery.Peer
	told  bool
}

func (f *found) text() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.told {
		return "nothing yet"
	}
	return fmt.Sprint(f.peers)
}

// discover follows the server with our source.
func discover(t *testing.T, s *kubetest.Server) *found {
	t.Helper()
	dir, f := t.TempDir(), new(found)
	api := &discovery.API{Server: s.URL, TokenFile: filepath.Join(dir, "token"), CAFile: filepath.Join(dir, "ca.crt")}
	for file, b := range map[string][]byte{api.TokenFile: []byte(kubetest.Token), api.CAFile: s.CA()} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	k := &discovery.Kubernetes{API: api, Namespace: kubetest.Namespace, Service: kubetest.Service, Port: port, Pause: time.Millisecond}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		k.Run(ctx, func(all []discovery.Peer) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.peers, f.told = all, true
		}, func(error) {})
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
	return f
}

// peers are those that the rule gives for typed slices. Rules: P-disc-3.
func peers(all []*discoveryv1.EndpointSlice) []discovery.Peer {
	slices.SortFunc(all, func(a, b *discoveryv1.EndpointSlice) int { return strings.Compare(a.Name, b.Name) })
	byNode := map[string]discovery.Peer{}
	for _, s := range all {
		if !slices.ContainsFunc(s.Ports, func(p discoveryv1.EndpointPort) bool { return p.Port != nil && *p.Port == port }) {
			continue
		}
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && !*e.Conditions.Ready || e.TargetRef == nil || e.TargetRef.Kind != "Pod" || len(e.Addresses) == 0 {
				continue
			}
			if _, twice := byNode[e.TargetRef.Name]; !twice {
				byNode[e.TargetRef.Name] = discovery.Peer{Node: e.TargetRef.Name, Address: net.JoinHostPort(e.Addresses[0], fmt.Sprint(port))}
			}
		}
	}
	sorted := []discovery.Peer{}
	for _, n := range slices.Sorted(maps.Keys(byNode)) {
		sorted = append(sorted, byNode[n])
	}
	return sorted
}

// until waits for what must come of events.
func until(t *testing.T, what func() string, done func() bool) {
	t.Helper()
	for late := time.Now().Add(5 * time.Minute); !done(); time.Sleep(time.Millisecond) {
		if time.Now().After(late) {
			t.Fatal(what())
		}
	}
}

func to[T any](v T) *T { return &v }

// endpointSlice is one as the controller of EndpointSlices makes it for the Helm chart's service, which has ports for data and
// control.
func endpointSlice(name string, family discoveryv1.AddressType, endpoints ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		TypeMeta: metav1.TypeMeta{Kind: "EndpointSlice", APIVersion: "discovery.k8s.io/v1"},
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: kubetest.Namespace, GenerateName: "slim-", UID: "6e1b1e2c", Generation: 3,
			CreationTimestamp: metav1.NewTime(time.Unix(1_790_000_000, 0)),
			Annotations:       map[string]string{corev1.EndpointsLastChangeTriggerTime: "2026-11-29T12:00:00Z"},
			Labels: map[string]string{discoveryv1.LabelServiceName: kubetest.Service, discoveryv1.LabelManagedBy: "endpointslice-controller.k8s.io",
				"app.kubernetes.io/name": "slim"},
			OwnerReferences: []metav1.OwnerReference{{APIVersion: "v1", Kind: "Service", Name: kubetest.Service, UID: "d0", Controller: to(true)}}},
		AddressType: family,
		Endpoints:   endpoints,
		Ports: []discoveryv1.EndpointPort{
			{Name: to("control"), Protocol: to(corev1.ProtocolTCP), Port: to(int32(46358))},
			{Name: to("data"), Protocol: to(corev1.ProtocolTCP), Port: to(int32(port)), AppProtocol: to("kubernetes.io/h2c")},
		},
	}
}

// pod is an endpoint in one of the states through which a pod goes.
func pod(name, address string, ready, serving, terminating bool) discoveryv1.Endpoint {
	return discoveryv1.Endpoint{Addresses: []string{address}, NodeName: to("worker-1"), Zone: to("eu-1a"),
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: kubetest.Namespace, Name: name, UID: "c0ffee"},
		Hints:      &discoveryv1.EndpointHints{ForZones: []discoveryv1.ForZone{{Name: "eu-1a"}}}}
}

// TestShapes: which of client-go's own objects are peers. Rules: P-disc-3.
func TestShapes(t *testing.T) {
	for _, c := range []struct {
		name   string
		slices []*discoveryv1.EndpointSlice
		want   string
	}{
		{"states of a pod", []*discoveryv1.EndpointSlice{endpointSlice("slim-a", discoveryv1.AddressTypeIPv4,
			pod("slim-0", "10.0.0.1", true, true, false), pod("slim-1", "10.0.0.2", false, false, false),
			pod("slim-2", "10.0.0.3", false, true, true), pod("slim-3", "10.0.0.4", false, false, true))}, "[{slim-0 10.0.0.1:46357}]"},
		{"both families", []*discoveryv1.EndpointSlice{
			endpointSlice("slim-4", discoveryv1.AddressTypeIPv4, pod("slim-0", "10.0.0.1", true, true, false), pod("slim-1", "10.0.0.2", true, true, false)),
			endpointSlice("slim-6", discoveryv1.AddressTypeIPv6, pod("slim-0", "fd00::1", true, true, false), pod("slim-2", "fd00::3", true, true, false))},
			"[{slim-0 10.0.0.1:46357} {slim-1 10.0.0.2:46357} {slim-2 [fd00::3]:46357}]"},
		{"no conditions", []*discoveryv1.EndpointSlice{endpointSlice("slim-a", discoveryv1.AddressTypeIPv4, discoveryv1.Endpoint{
			Addresses: []string{"10.0.0.1"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "slim-0"}})}, "[{slim-0 10.0.0.1:46357}]"},
		{"without a port", []*discoveryv1.EndpointSlice{func() *discoveryv1.EndpointSlice {
			s := endpointSlice("slim-a", discoveryv1.AddressTypeIPv4, pod("slim-0", "10.0.0.1", true, true, false))
			s.Ports = []discoveryv1.EndpointPort{{Name: to("data")}} // nil: all of them
			return s
		}()}, "[]"},
		{"a manual endpoint", []*discoveryv1.EndpointSlice{endpointSlice("slim-a", discoveryv1.AddressTypeFQDN,
			discoveryv1.Endpoint{Addresses: []string{"slim.example.com"}})}, "[]"},
		{"no endpoints", []*discoveryv1.EndpointSlice{endpointSlice("slim-a", discoveryv1.AddressTypeIPv4)}, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := kubetest.New(t)
			for _, x := range c.slices {
				s.Put(x)
			}
			f := discover(t, s)
			until(t, func() string { return f.text() + ", want " + c.want }, func() bool { return f.text() == c.want })
			if got := fmt.Sprint(peers(c.slices)); got != c.want {
				t.Errorf("the model says %s, want %s", got, c.want)
			}
		})
	}
}

// TestChunks: client-go's pager gets all slices of the server in chunks, of one version although they change meanwhile, and all
// at once when that version is forgotten between two.
func TestChunks(t *testing.T) {
	for _, c := range []struct {
		forget       bool
		want, chunks int
	}{
		{false, 7, 4}, // the server gives two at a time
		{true, 6, 3},  // two, a refusal, and then all that there are
	} {
		s := kubetest.New(t)
		for i := range 7 {
			s.Put(endpointSlice(fmt.Sprint("slim-", i), discoveryv1.AddressTypeIPv4, pod(fmt.Sprint("slim-", i), "10.0.0.1", true, true, false)))
		}
		cl, chunks := client(t, s), 0
		p := pager.New(func(ctx context.Context, o metav1.ListOptions) (runtime.Object, error) {
			if chunks++; chunks == 2 {
				s.Remove("slim-6")
				if c.forget {
					s.Forget()
				}
			}
			return cl.List(ctx, selecting(o))
		})
		p.PageSize = 3
		all, _, err := p.List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if n := meta.LenList(all); n != c.want || chunks != c.chunks {
			t.Errorf("forget %v: %d slices in %d chunks, want %d in %d", c.forget, n, chunks, c.want, c.chunks)
		}
	}
}

// TestSameCourse: through changes, watches that end in order, in the middle of an event or with garbage, bookmarks and versions that
// are forgotten, client-go's reflector and ours find the same peers, which are those of what the server has. Rules: P-disc-3.
func TestSameCourse(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 15))
			s := kubetest.New(t)
			truth := map[string]*discoveryv1.EndpointSlice{}
			store, ours := reflect(t, s), discover(t, s)
			for step := range 200 {
				name := fmt.Sprint("slim-", random.IntN(6))
				switch random.IntN(12) {
				case 0:
					s.Cut(nil)
				case 1:
					s.Cut([]byte(`{"type":"MODIFIED","object":{"kind":"EndpointSlice","apiVersion":"discovery.k8s.io/v1","metadata":{"name":"slim-0","reso`))
				case 2:
					s.Tear()
				case 3:
					s.Forget()
					s.Cut(nil)
				case 4:
					s.Bookmark()
				case 5, 6:
					if truth[name] != nil {
						delete(truth, name)
						s.Remove(name)
					}
				default:
					var all []discoveryv1.Endpoint
					for range random.IntN(4) {
						i := random.IntN(9)
						all = append(all, pod(fmt.Sprint("slim-", i), fmt.Sprintf("10.0.%d.%d", random.IntN(2), i), random.IntN(3) > 0, true, false))
					}
					truth[name] = endpointSlice(name, discoveryv1.AddressTypeIPv4, all...)
					s.Put(truth[name])
				}
				if step%20 != 19 {
					continue
				}
				want := fmt.Sprint(peers(slices.Collect(maps.Values(truth))))
				theirs := func() string {
					var all []*discoveryv1.EndpointSlice
					for _, x := range store.List() {
						all = append(all, x.(*discoveryv1.EndpointSlice))
					}
					return fmt.Sprint(peers(all))
				}
				until(t, func() string {
					return fmt.Sprintf("step %d: client-go has %s, ours %s, want %s", step, theirs(), ours.text(), want)
				},
					func() bool { return theirs() == want && ours.text() == want })
			}
		})
	}
}
