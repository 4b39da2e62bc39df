package servers

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"
)

// Kafka is a cluster to connect to.
type Kafka struct {
	Brokers []string
	// Options hold TLS and SASL; they go into every client.
	Options []kgo.Opt
	display string
	// user is empty where the address names none.
	user string
}

// ParseKafka reads an address list (host:port,host:port) or a URL:
//
//	kafka://user@host:9092,host:9092?sasl=scram-sha-512
//	kafka+tls://user@host:9093?sasl=plain&ca=/etc/ca.pem&cert=…&key=…&server_name=…
//
// The schemes are kafka and kafka+tls, sasl is one of plain, scram-sha-256 and
// scram-sha-512 (the default where a user is named). The password given beside
// the address wins over one inside it.
func ParseKafka(address, password string) (*Kafka, error) {
	scheme, rest, hasScheme := strings.Cut(address, "://")
	if !hasScheme {
		scheme, rest = "kafka", address
	}
	if scheme != "kafka" && scheme != "kafka+tls" {
		return nil, fmt.Errorf("servers: kafka address: unknown scheme %q, want kafka or kafka+tls", scheme)
	}
	rest, rawQuery, _ := strings.Cut(rest, "?")
	query, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, fmt.Errorf("servers: kafka address: query: %w", err)
	}
	userinfo := ""
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		userinfo, rest = rest[:i], rest[i+1:]
	}
	k := &Kafka{display: scheme + "://" + rest}
	for broker := range strings.SplitSeq(strings.TrimSuffix(rest, "/"), ",") {
		host, port, err := net.SplitHostPort(broker)
		if err != nil || host == "" || port == "" {
			return nil, fmt.Errorf("servers: kafka address: broker %q: want host:port", broker)
		}
		k.Brokers = append(k.Brokers, broker)
	}
	if err := allowOnly("kafka address", query, "sasl", "ca", "cert", "key", "server_name", "insecure"); err != nil {
		return nil, err
	}
	if scheme == "kafka+tls" {
		config, err := tlsConfig(query)
		if err != nil {
			return nil, err
		}
		dialer := &tls.Dialer{NetDialer: &net.Dialer{Timeout: 10 * time.Second}, Config: config}
		k.Options = append(k.Options, kgo.Dialer(dialer.DialContext))
	}
	name, _, _ := strings.Cut(userinfo, ":")
	if k.user, err = url.PathUnescape(name); err != nil {
		return nil, errors.New("servers: kafka address: the user is not URL-encoded")
	}
	mechanism, err := saslMechanism(userinfo, password, query.Get("sasl"))
	if err != nil {
		return nil, err
	}
	if mechanism != nil {
		k.Options = append(k.Options, kgo.SASL(mechanism))
	}
	return k, nil
}

// String is the address without its user and password.
func (k *Kafka) String() string { return k.display }

// Client makes a client with these options and more.
func (k *Kafka) Client(more ...kgo.Opt) (*kgo.Client, error) {
	opts := append([]kgo.Opt{kgo.SeedBrokers(k.Brokers...), kgo.ClientID("tintype")}, k.Options...)
	client, err := kgo.NewClient(append(opts, more...)...)
	if err != nil {
		return nil, fmt.Errorf("servers: kafka client: %w", err)
	}
	return client, nil
}

// adminMetadataAge is how old an administration client's answer about topics
// may be. By default it is 5 s, for which a topic that was just made is missing.
const adminMetadataAge = 50 * time.Millisecond

// Admin makes an administration client; the caller closes it.
func (k *Kafka) Admin() (*kadm.Client, error) {
	client, err := k.Client(kgo.MetadataMinAge(adminMetadataAge))
	if err != nil {
		return nil, err
	}
	return kadm.NewClient(client), nil
}

// Reachable asks the cluster for its brokers until ctx ends.
func (k *Kafka) Reachable(ctx context.Context) error {
	admin, err := k.Admin()
	if err != nil {
		return err
	}
	defer admin.Close()
	if _, err := admin.BrokerMetadata(ctx); err != nil {
		return fmt.Errorf("servers: kafka %s does not answer: %w; %s", k, err, KafkaHint(err))
	}
	return nil
}

func saslMechanism(userinfo, password, name string) (sasl.Mechanism, error) {
	if userinfo == "" {
		if name != "" {
			return nil, errors.New("servers: kafka address: sasl needs a user before the @")
		}
		return nil, nil
	}
	user, inline, _ := strings.Cut(userinfo, ":")
	user, err := url.PathUnescape(user)
	if err != nil {
		return nil, errors.New("servers: kafka address: the user is not URL-encoded")
	}
	if password == "" {
		if password, err = url.PathUnescape(inline); err != nil {
			return nil, errors.New("servers: kafka address: the password is not URL-encoded")
		}
	}
	switch name {
	case "plain":
		return plain.Auth{User: user, Pass: password}.AsMechanism(), nil
	case "scram-sha-256":
		return scram.Auth{User: user, Pass: password}.AsSha256Mechanism(), nil
	case "", "scram-sha-512":
		return scram.Auth{User: user, Pass: password}.AsSha512Mechanism(), nil
	}
	return nil, fmt.Errorf("servers: kafka address: unknown sasl %q, want plain, scram-sha-256 or scram-sha-512", name)
}
