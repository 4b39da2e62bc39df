package kafkatest

import (
	"maps"
	"net"
	"slices"
	"strconv"
)

// Secure is a listener with TLS and SASL (SCRAM-SHA-512). Whoever comes by the
// plain listener, which stays for the test itself, may do everything; the users
// may do what ACLs say.
type Secure struct {
	// Users have passwords.
	Users map[string]string
	// Certificate and Key are PEM; the key is PKCS #8.
	Certificate, Key string
}

// SecureAddr is the address of the listener of Options.Secure.
func (b *Broker) SecureAddr() string { return net.JoinHostPort(loopback, strconv.Itoa(b.secure)) }

func (s *Secure) settings(port, secure, controller int) map[string]string {
	plain, tls := net.JoinHostPort(loopback, strconv.Itoa(port)), net.JoinHostPort(loopback, strconv.Itoa(secure))
	return map[string]string{
		"listeners":                      "PLAINTEXT://" + plain + ",SASL_SSL://" + tls + ",CONTROLLER://" + net.JoinHostPort(loopback, strconv.Itoa(controller)),
		"advertised.listeners":           "PLAINTEXT://" + plain + ",SASL_SSL://" + tls,
		"listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL,CONTROLLER:PLAINTEXT",
		"sasl.enabled.mechanisms":        "SCRAM-SHA-512",
		"ssl.keystore.type":              "PEM",
		"ssl.keystore.certificate.chain": s.Certificate,
		"ssl.keystore.key":               s.Key,
		"authorizer.class.name":          "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
		"super.users":                    "User:ANONYMOUS",
		"allow.everyone.if.no.acl.found": "false",
		"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
	}
}

// format are the arguments that give a new folder its users.
func (s *Secure) format() []string {
	if s == nil {
		return nil
	}
	var arguments []string
	for _, user := range slices.Sorted(maps.Keys(s.Users)) {
		arguments = append(arguments, "--add-scram", "SCRAM-SHA-512=[name="+user+",password="+s.Users[user]+"]")
	}
	return arguments
}
