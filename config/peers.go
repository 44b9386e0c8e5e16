package config

import (
	"cmp"
	"fmt"
	"strings"
	"time"
)

// Peers is `peers`: the other replicas of a node, all linked with each other.
type Peers struct {
	Topology  string // "full_mesh"
	Discovery string // "static", "kubernetes" or "dns"
	Static    []Peer

	Namespace, ServiceName string        // kubernetes
	Port                   uint64        // kubernetes and dns, 0 to 65535
	Name                   string        // dns: of the peers together; one that begins with _ has SRV records
	Interval               time.Duration // dns: between two questions
}

// defaultInterval is how often a name is resolved again.
const defaultInterval = 5 * time.Second

// maxReplicas is how many nodes can be linked with each other: each has at most 256 peers (P-lim-4).
const maxReplicas = 257

// leastInterval is how often it is at most.
const leastInterval = 100 * time.Millisecond

// Peer is one entry of `peers.discovery.peers`.
type Peer struct {
	NodeID string
	Client
}

func (d *decoder) peers(n *node, path string) *Peers {
	p := &Peers{Topology: "full_mesh"}
	o := d.object(n, path, "struct PeersConfig", strict)
	o.enum("topology", &p.Topology, "full_mesh")
	o.required("discovery")
	if v := o.get("discovery"); v != nil {
		d.discovery(p, v, join(path, "discovery"))
	}
	o.end()
	return p
}

func (d *decoder) discovery(p *Peers, n *node, path string) {
	o, kind := d.tagged(n, path, "PeerDiscovery", "static", "kubernetes", "dns")
	p.Discovery = kind
	if o == nil {
		return
	}
	switch kind {
	case "static":
		o.required("peers")
		items := o.list("peers")
		if v := n.get("peers"); v != nil && len(items) == 0 {
			d.bad(v, join(path, "peers"), "peers must not be empty")
		}
		for i, v := range items {
			p.Static = append(p.Static, d.peer(v, indexed(join(path, "peers"), i)))
		}
	case "kubernetes":
		for _, key := range []string{"namespace", "service_name", "port"} {
			o.required(key)
		}
		o.str("namespace", &p.Namespace)
		o.str("service_name", &p.ServiceName)
		o.uint("port", "u16", 16, &p.Port)
	case "dns":
		o.required("name")
		o.str("name", &p.Name)
		if len(p.Name) == 0 || p.Name[0] != '_' {
			o.required("port")
		}
		o.uint("port", "u16", 16, &p.Port)
		o.duration("interval", &p.Interval)
		p.Interval = cmp.Or(max(p.Interval, 0), defaultInterval)
		d.checkDNS(p, n, path)
	}
	o.end()
}

// checkDNS refuses what finds no peers whatever DNS says, and what asks it without a pause. Rules: P-disc-4.
func (d *decoder) checkDNS(p *Peers, n *node, path string) {
	name, port, interval := n.get("name"), n.get("port"), n.get("interval")
	switch {
	case name == nil:
	case p.Name == "" || strings.ContainsAny(p.Name, "/: \t\r\n"):
		d.bad(name, join(path, "name"), quote(p.Name)+" is no name of DNS, such as slim.default.svc.cluster.local: it has no scheme and no port")
	case port == nil:
	case p.Name[0] == '_':
		d.warn(port.pos, join(path, "port"), "has no effect: service records have ports of their own")
	case p.Port == 0:
		d.bad(port, join(path, "port"), "a port that is dialled is 1 to 65535")
	}
	if interval != nil && p.Interval < leastInterval {
		d.bad(interval, join(path, "interval"), "the name is resolved every "+leastInterval.String()+" at most")
	}
}

func (d *decoder) peer(n *node, path string) Peer {
	var p Peer
	o := d.object(n, path, "struct StaticPeer", strict)
	o.required("node_id")
	o.str("node_id", &p.NodeID)
	p.Client = d.clientFields(o)
	o.end()
	return p
}

// PeerClient is how a peer is dialled of which nothing is known but its address, as upstream dials it: without TLS.
func PeerClient(address string) Client {
	c := defaultClient()
	c.Endpoint, c.TLS.Insecure, c.ConnectionType = "http://"+address, true, "peer"
	return c
}

// checkPeers refuses static peers that cannot be dialled, and warns of what makes peers useless. Rules: P-disc-1.
func (d *decoder) checkPeers(s *Service, path string) {
	if s.Peers == nil {
		return
	}
	if s.NodeID == "" && s.Peers.Discovery != "dns" {
		d.warn(s.Position, path, "the service has no node_id, so that its peers know it under another name after each start: "+
			"give it the one that discovery has for it")
	}
	if s.Peers.Discovery == "kubernetes" && (s.Peers.Namespace == "" || s.Peers.ServiceName == "" || s.Peers.Port == 0) {
		d.warn(s.Position, join(path, "discovery"), "no peers are found with an empty namespace or service_name, or port 0")
	}
	list := join(path, "discovery.peers")
	seen := map[string]bool{}
	for i := range s.Peers.Static {
		p := &s.Peers.Static[i]
		switch {
		case seen[p.NodeID]:
			d.warn(p.Position, indexed(list, i), "has no effect: node_id "+quote(p.NodeID)+" stands in the list before")
		case p.NodeID != s.NodeID || s.NodeID == "":
			d.checkUnlisted(&p.Client, indexed(list, i))
		}
		seen[p.NodeID] = true
	}
	if len(seen) > maxReplicas {
		d.warn(s.Position, list, fmt.Sprintf("has %d replicas: a node is linked with %d others at most, and those whose node_id sorts last are not reached",
			len(seen), maxReplicas-1))
	}
}
