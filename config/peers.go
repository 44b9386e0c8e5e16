package config

// Peers is `peers`: the other replicas of a node, all linked with each other.
type Peers struct {
	Topology  string // "full_mesh"
	Discovery string // "static" or "kubernetes"
	Static    []Peer

	Namespace, ServiceName string // kubernetes
	Port                   uint64 // kubernetes, 0 to 65535
}

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
	o, kind := d.tagged(n, path, "PeerDiscovery", "static", "kubernetes")
	p.Discovery = kind
	if o == nil {
		return
	}
	if kind == "static" {
		o.required("peers")
		items := o.list("peers")
		if v := n.get("peers"); v != nil && len(items) == 0 {
			d.bad(v, join(path, "peers"), "peers must not be empty")
		}
		for i, v := range items {
			p.Static = append(p.Static, d.peer(v, indexed(join(path, "peers"), i)))
		}
	} else {
		for _, key := range []string{"namespace", "service_name", "port"} {
			o.required(key)
		}
		o.str("namespace", &p.Namespace)
		o.str("service_name", &p.ServiceName)
		o.uint("port", "u16", 16, &p.Port)
	}
	o.end()
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
