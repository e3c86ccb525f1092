# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_credgate_global_optspecs
    string join \n output= config= control-socket= h/help V/version
end

function __fish_credgate_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_credgate_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_credgate_using_subcommand
    set -l cmd (__fish_credgate_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c credgate -n "__fish_credgate_needs_command" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_needs_command" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_needs_command" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_needs_command" -s V -l version -d 'Print version'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "serve" -d 'Run the gateway until SIGTERM or SIGINT'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "init" -d 'Make the state directory, the CA, the broker certificate and the signing key'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "demo" -d 'Try everything out in a directory of its own, without any set-up'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "device" -d 'Do what a device does'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "config" -d 'Check or show the configuration'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "client" -d 'Clients: the devices that may have tokens'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "resource-server" -d 'Resource servers: what checks tokens'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "scope" -d 'Scopes: what a token may open'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "role" -d 'Roles: named sets of scopes'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "enrolment" -d 'Enrolments: devices that register themselves'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "apply" -d 'Make clients and what they may have as files say; shows the difference first'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "key" -d 'Signing keys'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "token" -d 'Tokens: revoke one; look into one or check one, without asking the gateway'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "explain" -d 'Tell whether a token request would be granted, and why; exit code 4 if it would be refused'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "audit" -d 'The audit trail: what operators did, what became of credentials and keys, who was refused'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "export" -d 'Export clients, policy, enrolments and revocations as lines of JSON'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "backup" -d 'Make a backup of registry and keys, also while the gateway runs'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "restore" -d 'Put a backup in place while the gateway does not run; everything in it is verified before anything is touched'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "check" -d 'Examine the installation and say what to do; exit code 1 for warnings, 2 for errors'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "reload" -d 'Have the gateway read its configuration, certificates and passwords anew; nothing changes if anything is wrong with them'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "status" -d 'Tell what the gateway does; exit code 3 if it does not run'
complete -c credgate -n "__fish_credgate_needs_command" -f -a "top" -d 'Watch the gateway on this terminal: requests, refusals, latencies, clients; q ends it'
complete -c credgate -n "__fish_credgate_using_subcommand serve" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand serve" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand serve" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand init" -l name -d 'DNS name or IP address by which devices reach the embedded broker; may be repeated [default: the host\'s name]' -r
complete -c credgate -n "__fish_credgate_using_subcommand init" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand init" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand init" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand init" -l quiet -d 'Say nothing unless something was made: for systemd, which runs this before each start'
complete -c credgate -n "__fish_credgate_using_subcommand init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand demo" -l state-directory -d 'Directory for the demo\'s state, new or empty; it is kept [default: a temporary one, removed at the end]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand demo" -l listen -d 'Address of the embedded broker [default: 127.0.0.1:8883, or a free port if that is taken]' -r
complete -c credgate -n "__fish_credgate_using_subcommand demo" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand demo" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand demo" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand demo" -l once -d 'End after the check instead of serving until Ctrl-C'
complete -c credgate -n "__fish_credgate_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -f -a "token" -d 'Ask the gateway for an access token and print it'
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -f -a "rotate" -d 'Take a new secret or key in place of the one in a file'
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -f -a "register" -d 'Register the device by an enrolment token, with a key of its own or for a secret; print its client id'
complete -c credgate -n "__fish_credgate_using_subcommand device; and not __fish_seen_subcommand_from token rotate register keygen" -f -a "keygen" -d 'Make a key for signed assertions; print its public half, for `credgate client add --jwk-file`'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l broker -d 'The broker that carries the requests; the port is 8883 if it has none' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l ca-file -d 'PEM file of the CAs that may sign the broker\'s certificate [default: the system\'s]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l format -d 'Encoding of the request and its answer' -r -f -a "json\t''
cbor\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l mqtt-version -d 'Version of MQTT' -r -f -a "5\t''
3.1.1\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l qos -d 'Quality of service of the request and its answer' -r -f -a "0\t''
1\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l timeout -d 'Seconds to wait for the connection, and then for each answer' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l topic-prefix -d 'First levels of the gateway\'s topics' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l client-id -d 'Who the device is: OAuth client_id and MQTT user name' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l secret-file -d 'File that holds the client secret and nothing else' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l key-file -d 'File with the device\'s private key (Ed25519 or P-256, PKCS#8 PEM): it signs an assertion and has no client secret' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l issuer -d 'The gateway\'s issuer identifier, for which the assertion is made' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l mqtt-password-file -d 'File with the MQTT password, for a broker that has its own [default: the client secret, or an assertion]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l mqtt-client-id -d 'MQTT client identifier; the embedded broker wants the client id, or that, a dot and more [default: the client id, a dot and random characters, so that a session of the same device is not taken over]' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l scope -d 'Scopes to ask for, separated by spaces [default: all that the client has at the audience]' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l audience -d 'Audience to ask for [default: the one that the scopes tell]' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l no-clock -d 'Behave as a device without a clock: ask for a nonce first'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l cose -d 'With --format cbor, sign the assertion as COSE_Sign1, as a device without JSON does'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l pop -d 'Have the token bound to the key of --key-file (proof of possession)'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l sealed -d 'Have the token sealed for this command alone, so that a broker that reads everything holds nothing usable'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l decode -d 'Print the token\'s header and claims instead of the token'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -l verify -d 'Check the token by the issuer and the keys that the gateway publishes on the broker'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from token" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l broker -d 'The broker that carries the requests; the port is 8883 if it has none' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l ca-file -d 'PEM file of the CAs that may sign the broker\'s certificate [default: the system\'s]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l format -d 'Encoding of the request and its answer' -r -f -a "json\t''
cbor\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l mqtt-version -d 'Version of MQTT' -r -f -a "5\t''
3.1.1\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l qos -d 'Quality of service of the request and its answer' -r -f -a "0\t''
1\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l timeout -d 'Seconds to wait for the connection, and then for each answer' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l topic-prefix -d 'First levels of the gateway\'s topics' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l client-id -d 'Who the device is: OAuth client_id and MQTT user name' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l secret-file -d 'File that holds the client secret and nothing else' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l key-file -d 'File with the device\'s private key (Ed25519 or P-256, PKCS#8 PEM): it signs an assertion and has no client secret' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l issuer -d 'The gateway\'s issuer identifier, for which the assertion is made' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l mqtt-password-file -d 'File with the MQTT password, for a broker that has its own [default: the client secret, or an assertion]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l mqtt-client-id -d 'MQTT client identifier; the embedded broker wants the client id, or that, a dot and more [default: the client id, a dot and random characters, so that a session of the same device is not taken over]' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l alg -d 'The algorithm of the new key [default: that of the old one]' -r -f -a "EdDSA\t'Ed25519'
ES256\t'ECDSA on P-256'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l no-clock -d 'Behave as a device without a clock: ask for a nonce first'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -l cose -d 'With --format cbor, sign the assertion as COSE_Sign1, as a device without JSON does'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l broker -d 'The broker that carries the requests; the port is 8883 if it has none' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l ca-file -d 'PEM file of the CAs that may sign the broker\'s certificate [default: the system\'s]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l format -d 'Encoding of the request and its answer' -r -f -a "json\t''
cbor\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l mqtt-version -d 'Version of MQTT' -r -f -a "5\t''
3.1.1\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l qos -d 'Quality of service of the request and its answer' -r -f -a "0\t''
1\t''"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l timeout -d 'Seconds to wait for the connection, and then for each answer' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l topic-prefix -d 'First levels of the gateway\'s topics' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l token-file -d 'File that holds the enrolment token and nothing else' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l serial -d 'The device\'s serial number' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l key-file -d 'Register the public half of the key in this file; the key is made, in a new file of mode 0600, if there is none' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l alg -d 'The algorithm by which a new key signs' -r -f -a "EdDSA\t'Ed25519'
ES256\t'ECDSA on P-256'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l secret-file -d 'Ask for a secret and write it to this new file (mode 0600, no line break)' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l client-name -d 'A name for people' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l software-id -d 'What runs on the device' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l software-version -d 'The version of that' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l name -d 'Whose topics to use until the device is registered [default: 32 random characters]' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l mqtt-username -d 'MQTT user name, for a broker of your own [default: the name]' -r
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l mqtt-password-file -d 'File with the MQTT password, for a broker of your own [default: the token, which the embedded broker takes]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -l mac -d 'Show that the device has the token without showing the token, for a broker that must not see it'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from register" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from keygen" -l key-file -d 'New file for the private key (mode 0600, PKCS#8 PEM)' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from keygen" -l alg -d 'The algorithm it signs by' -r -f -a "EdDSA\t'Ed25519'
ES256\t'ECDSA on P-256'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from keygen" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from keygen" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from keygen" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand device; and __fish_seen_subcommand_from keygen" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand config; and not __fish_seen_subcommand_from check show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand config; and not __fish_seen_subcommand_from check show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand config; and not __fish_seen_subcommand_from check show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand config; and not __fish_seen_subcommand_from check show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand config; and not __fish_seen_subcommand_from check show" -f -a "check" -d 'Read the configuration and say whether it is valid, and what in it is worth a second thought'
complete -c credgate -n "__fish_credgate_using_subcommand config; and not __fish_seen_subcommand_from check show" -f -a "show" -d 'Print the configuration in effect, defaults included'
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from check" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from check" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from check" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand config; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "add" -d 'Register a client, by its public keys or with a secret that is printed this once'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "edit" -d 'Change what a client may have; what is not named stays, a list that is named is replaced'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "list" -d 'List the clients, all or some'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "show" -d 'Show one client'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "remove" -d 'Remove clients for good'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "rotate" -d 'Give a client a new secret or key beside the old one, which ends'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "revoke-tokens" -d 'Make all tokens void that clients got before a time'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "block" -d 'Refuse clients from now on, and all their tokens'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "suspend" -d 'Refuse clients for a while, and all their tokens for good'
complete -c credgate -n "__fish_credgate_using_subcommand client; and not __fish_seen_subcommand_from add edit list show remove rotate revoke-tokens block suspend resume" -f -a "resume" -d 'Serve suspended or blocked clients again'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l name -d 'A name for people' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l scope -d 'Scope to grant; repeat it, or separate scopes with spaces' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l software-id -d 'What runs on the device' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l software-version -d 'The version of that' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l role -d 'Role to grant; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l default-scope -d 'Scope that a request without scope gets; may be repeated [default: all that is granted]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l audience -d 'Resource server it may have tokens for; may be repeated [default: all at which it has a scope]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l introspect -d 'Resource server that it is: it may introspect its tokens and read its revocation list; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l attribute -d 'Attribute that topic permissions may name, such as site=berlin; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l max-token-lifetime -d 'Seconds no token of its outlives [default: the other limits]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l not-before -d 'Refuse it before this time, such as 2026-11-22T21:46:24Z' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l expires-at -d 'Refuse it from this time on' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l secret-file -d 'Write the secret to this new file (mode 0600, no line break) instead of printing it' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l jwk-file -d 'Its public keys, a JWK or a JWK Set of at most four: it then authenticates by signed assertion and has no secret' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -l require-request-binding -d 'Accept its assertions only if each is bound to its request (claim rqh)'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l name -d 'A name for people' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l scope -d 'Scope to grant, in place of those before; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l software-id -d 'What runs on the device' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l software-version -d 'The version of that' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l role -d 'Role to grant; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l default-scope -d 'Scope that a request without scope gets; may be repeated [default: all that is granted]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l audience -d 'Resource server it may have tokens for; may be repeated [default: all at which it has a scope]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l introspect -d 'Resource server that it is: it may introspect its tokens and read its revocation list; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l attribute -d 'Attribute that topic permissions may name, such as site=berlin; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l max-token-lifetime -d 'Seconds no token of its outlives [default: the other limits]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l not-before -d 'Refuse it before this time, such as 2026-11-22T21:46:24Z' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l expires-at -d 'Refuse it from this time on' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l require-request-binding -d 'Accept its assertions only if each is bound to its request (claim rqh), or no longer only then' -r -f -a "true\t''
false\t''"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l clear -d 'What to empty: scope, role, default-scope, audience, introspect, attribute, max-token-lifetime, not-before or expires-at; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l attribute -d 'Only those with this attribute, such as site=berlin; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l status -d 'Only those that are active, suspended or blocked; may be repeated' -r -f -a "active\t''
suspended\t''
blocked\t''"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l role -d 'Only those with this role; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l scope -d 'Only those that hold this scope, directly or by a role; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l audience -d 'Only those that can have a token for this resource server; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l auth-method -d 'Only those that authenticate by client_secret_post or private_key_jwt' -r -f -a "client_secret_post\t''
private_key_jwt\t''"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l last-used-before -d 'Only those last used before this time, or never: 2026-11-22T21:46:24Z, or 30d for 30 days ago' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l last-used-after -d 'Only those used since this time' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l expiring-within -d 'Only those that end, or of which a secret or key ends, within this time, such as 30d; and those that have ended' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l sort -d 'In which order: id, name, status, created, updated, last-used or expires, with :desc for the last one first' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l after -d 'Only those that come after this one in the order' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l limit -d 'At most so many [default: all]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -l never-used -d 'Only those that never used a secret or key'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l overlap -d 'How long the old secret or key serves beside the new one, such as 7d, 12h or 0 [default: credential.overlap]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l retire -d 'What else ends the old one: the first use of the new one, or nothing [default: credential.retire]' -r -f -a "first-use\t''
end\t''"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l jwk-file -d 'The new public key, of a client that has keys: a JWK' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l secret-file -d 'Write the new secret to this new file (mode 0600, no line break) instead of printing it' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l cancel -d 'Take back the new secret or key of the rotation under way, unless it was used'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -l finish -d 'End the old secret or key of the rotation under way now'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from revoke-tokens" -l before -d 'The time, such as 2026-11-22T21:46:24Z, or how long ago, such as 10m [default: now]' -r
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from revoke-tokens" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from revoke-tokens" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from revoke-tokens" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from revoke-tokens" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from block" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from block" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from block" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from block" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from suspend" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from suspend" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from suspend" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from suspend" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from resume" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from resume" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from resume" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand client; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -f -a "add" -d 'Register a resource server'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -f -a "edit" -d 'Change a resource server; what is not named stays'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -f -a "list" -d 'List the resource servers, by id'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -f -a "show" -d 'Show one resource server'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and not __fish_seen_subcommand_from add edit list show remove" -f -a "remove" -d 'Remove a resource server that no scope and no client names'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l audience -d 'The aud of its tokens, usually a URI' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l max-token-lifetime -d 'Seconds no token for it outlives [default: the gateway\'s limit]' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l max-token-bytes -d 'Bytes of the largest token it takes: what could lead to a larger one is not registered [default: no limit]' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l token-format -d 'The form of its tokens' -r -f -a "jwt\t'JWT (RFC 9068)'
cwt\t'CWT (RFC 8392), for small devices'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l alg -d 'What its tokens are signed by [default: EdDSA, and ES256 with the dialect mosquitto-jwt]' -r -f -a "EdDSA\t'Ed25519, by the name that most verifiers know'
Ed25519\t'Ed25519, by the name of RFC 9864'
ES256\t'ECDSA on P-256, for verifiers that know no Ed25519'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l dialect -d 'The form of the permissions in its tokens' -r -f -a "oauth\t'Names of scopes, for any OAuth resource server'
aif\t'AIF-MQTT, for brokers after RFC 9431'
emqx\t'An access control list, for EMQX'
mosquitto-jwt\t'Topic filters, for the plugin mosquitto-jwt-auth of Mosquitto'
rabbitmq\t'Permissions of RabbitMQ'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l rabbitmq-prefix -d 'With the dialect rabbitmq: its resource_server_id, or its scope_prefix without the final dot [default: the audience]' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l rabbitmq-vhost -d 'With the dialect rabbitmq: the virtual host [default: /]' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l audience -d 'The aud of its tokens; those that are out keep the one before' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l max-token-lifetime -d 'Seconds no token for it outlives' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l max-token-bytes -d 'Bytes of the largest token it takes: what could lead to a larger one is not registered' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l token-format -d 'The form of its tokens' -r -f -a "jwt\t'JWT (RFC 9068)'
cwt\t'CWT (RFC 8392), for small devices'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l alg -d 'What its tokens are signed by' -r -f -a "EdDSA\t'Ed25519, by the name that most verifiers know'
Ed25519\t'Ed25519, by the name of RFC 9864'
ES256\t'ECDSA on P-256, for verifiers that know no Ed25519'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l dialect -d 'The form of the permissions in its tokens' -r -f -a "oauth\t'Names of scopes, for any OAuth resource server'
aif\t'AIF-MQTT, for brokers after RFC 9431'
emqx\t'An access control list, for EMQX'
mosquitto-jwt\t'Topic filters, for the plugin mosquitto-jwt-auth of Mosquitto'
rabbitmq\t'Permissions of RabbitMQ'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l rabbitmq-prefix -d 'With the dialect rabbitmq: its resource_server_id, or its scope_prefix without the final dot [default: the audience that is given]' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l rabbitmq-vhost -d 'With the dialect rabbitmq: the virtual host [default: /]' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l clear -d 'What to empty: max-token-lifetime or max-token-bytes; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -l token-format -d 'Only those with tokens of this form' -r -f -a "jwt\t'JWT (RFC 9068)'
cwt\t'CWT (RFC 8392), for small devices'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -l dialect -d 'Only those of this dialect' -r -f -a "oauth\t'Names of scopes, for any OAuth resource server'
aif\t'AIF-MQTT, for brokers after RFC 9431'
emqx\t'An access control list, for EMQX'
mosquitto-jwt\t'Topic filters, for the plugin mosquitto-jwt-auth of Mosquitto'
rabbitmq\t'Permissions of RabbitMQ'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -l after -d 'Only those whose id comes after this one' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -l limit -d 'At most so many [default: all]' -r
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand resource-server; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -f -a "add" -d 'Define a scope'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -f -a "edit" -d 'Change a scope; what is not named stays'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -f -a "list" -d 'List the scopes, by name'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -f -a "show" -d 'Show one scope'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and not __fish_seen_subcommand_from add edit list show remove" -f -a "remove" -d 'Remove a scope that no role and no client names'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from add" -l resource-server -d 'The resource server whose resources it opens' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from add" -l permission -d 'Topics it opens, such as \'pub telemetry/{client_id}/#\'; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from add" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from add" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from add" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from add" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -l resource-server -d 'The resource server whose resources it opens' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -l permission -d 'Topics it opens, in place of those before; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -l clear-permissions -d 'Let it open no topic'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from list" -l resource-server -d 'Only those of this resource server' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from list" -l after -d 'Only those whose name comes after this one' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from list" -l limit -d 'At most so many [default: all]' -r
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from list" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from list" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand scope; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -f -a "add" -d 'Define a role'
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -f -a "edit" -d 'Change a role; what is not named stays'
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -f -a "list" -d 'List the roles, by name'
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -f -a "show" -d 'Show one role'
complete -c credgate -n "__fish_credgate_using_subcommand role; and not __fish_seen_subcommand_from add edit list show remove" -f -a "remove" -d 'Remove a role that no client has'
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from add" -l scope -d 'Scope it grants; repeat it, or separate scopes with spaces' -r
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from add" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from add" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from add" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from add" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from edit" -l scope -d 'Scope it grants, in place of those before; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from edit" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from edit" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from edit" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from edit" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from list" -l scope -d 'Only those that grant this scope' -r
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from list" -l after -d 'Only those whose name comes after this one' -r
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from list" -l limit -d 'At most so many [default: all]' -r
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from list" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from list" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand role; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "template" -d 'What clients have that register themselves'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "add" -d 'Let devices register themselves; the token that they need is printed this once'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "edit" -d 'Change an enrolment; what is not named stays'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "list" -d 'List the enrolments, all or some, by id'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "show" -d 'Show one enrolment and the devices it knows'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "add-serials" -d 'Let more devices register by an enrolment that is limited to serial numbers'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "revoke" -d 'End an enrolment; clients that registered by it stay'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "release" -d 'Let a device register once more, such as one that lost its secret; removes the client that it was and gives its use back'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and not __fish_seen_subcommand_from template add edit list show add-serials revoke release remove" -f -a "remove" -d 'Remove an enrolment; clients that registered by it stay'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -f -a "add" -d 'Define what clients have that register themselves'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -f -a "edit" -d 'Change a template, for devices that register from now on; what is not named stays, a list that is named is replaced'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -f -a "list" -d 'List the templates, by name'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -f -a "show" -d 'Show one template'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from template" -f -a "remove" -d 'Remove a template that no enrolment has'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l template -d 'What the clients have' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l uses -d 'How many devices may register [default: as many as there are serial numbers]' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l expires -d 'For how long, such as 7d, 12h or seconds' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l serial -d 'Serial number of a device that may register, and no other; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l serial-file -d 'File with such serial numbers, one a line; empty lines and lines that begin with # are left out' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l token-file -d 'Write the token to this new file (mode 0600, no line break) instead of printing it' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from edit" -l uses -d 'How many devices may register in all, those that have included' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from edit" -l expires -d 'When it ends, from now, such as 2h: sooner than it would, as its token tells that' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from edit" -l description -d 'For people' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from edit" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from edit" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from edit" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from edit" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l template -d 'Only those with this template' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l status -d 'Only those that are open, used_up, expired or revoked; may be repeated' -r -f -a "open\t''
used_up\t''
expired\t''
revoked\t''"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l expiring-within -d 'Only those that end within this time, such as 30d; and those that have ended' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l after -d 'Only those whose id comes after this one' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l limit -d 'At most so many [default: all]' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add-serials" -l serial -d 'Serial number of a device that may register, and no other; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add-serials" -l serial-file -d 'File with such serial numbers, one a line; empty lines and lines that begin with # are left out' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add-serials" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add-serials" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add-serials" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from add-serials" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from revoke" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from revoke" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from revoke" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from revoke" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from release" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from release" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from release" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from release" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from release" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from remove" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from remove" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from remove" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from remove" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand enrolment; and __fish_seen_subcommand_from remove" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand apply" -s f -l file -d 'File that says how records are to be (.toml, .json or .csv), or - for standard input; may be repeated' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l format -d 'The form of the files [default: by their names]' -r -f -a "toml\t'Tables of records'
json\t'The same members in JSON'
csv\t'Clients, one a line'"
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l expect -d 'Change only what a dry run showed with this fingerprint' -r
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l secrets-file -d 'Write generated secrets to this new file (mode 0600), a client a line: JSON, or CSV if its name ends in .csv' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l secrets-directory -d 'Write each generated secret to a new file ID.secret (mode 0600, no line break) in this directory, which is made if it is not there' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l limit -d 'How many differing records are shown; 0 for all [default: 40, and 1000 as JSON]' -r
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l dry-run -d 'Show what would be different, and change nothing'
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l exit-code -d 'End with exit code 5 if something would be different'
complete -c credgate -n "__fish_credgate_using_subcommand apply" -l prune -d 'Remove what the files do not name, of the kinds that they speak of; not clients that registered themselves by an enrolment'
complete -c credgate -n "__fish_credgate_using_subcommand apply" -s y -l yes -d 'Do not ask before records are removed'
complete -c credgate -n "__fish_credgate_using_subcommand apply" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -f -a "list" -d 'List the signing keys'
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -f -a "show" -d 'Show one signing key, and its public half as a JWK'
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -f -a "jwks" -d 'Print the JWK Set that tokens are verified by, as it is published on {prefix}/as/jwks'
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -f -a "rotate" -d 'Publish a new signing key, which takes over by itself after keys.propagation; nothing fails meanwhile'
complete -c credgate -n "__fish_credgate_using_subcommand key; and not __fish_seen_subcommand_from list show jwks rotate revoke" -f -a "revoke" -d 'In an emergency: take a signing key away at once; all tokens it signed are void'
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from list" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from list" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from jwks" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from jwks" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from jwks" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from jwks" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from rotate" -l alg -d 'The algorithm of the key' -r -f -a "EdDSA\t'Ed25519'
ES256\t'ECDSA on P-256'"
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from rotate" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from rotate" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from rotate" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from rotate" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from revoke" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from revoke" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from revoke" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from revoke" -s y -l yes -d 'Do not ask'
complete -c credgate -n "__fish_credgate_using_subcommand key; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand token; and not __fish_seen_subcommand_from revoke show verify" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand token; and not __fish_seen_subcommand_from revoke show verify" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and not __fish_seen_subcommand_from revoke show verify" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and not __fish_seen_subcommand_from revoke show verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand token; and not __fish_seen_subcommand_from revoke show verify" -f -a "revoke" -d 'Make a token void before it expires'
complete -c credgate -n "__fish_credgate_using_subcommand token; and not __fish_seen_subcommand_from revoke show verify" -f -a "show" -d 'Show what is in a token, without checking anything'
complete -c credgate -n "__fish_credgate_using_subcommand token; and not __fish_seen_subcommand_from revoke show verify" -f -a "verify" -d 'Check a token without asking the gateway, as a resource server does'
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from revoke" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from revoke" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from revoke" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from revoke" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from show" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from show" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from show" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l jwks -d 'The JWK Set, as the gateway publishes it on {prefix}/as/jwks' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l trl -d 'The revocation list, as the gateway publishes it on {prefix}/rs/{rs_id}/trl' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l issuer -d 'The issuer to accept [default: the token\'s own]' -r
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l audience -d 'The audience to accept [default: the token\'s own]' -r
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l seen-sequence -d 'The greatest sequence number of a revocation list that was seen before: no older list is taken' -r
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand token; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l client -d 'The client that would ask' -r
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l audience -d 'Audience it would name: a resource server\'s id or audience value' -r
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l scope -d 'Scope it would name; may be repeated [default: none, which asks for the default scopes]' -r
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l at -d 'When it would ask, such as 2026-11-22T21:46:24Z [default: now]' -r
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l method -d 'How it would authenticate: client_secret_post or private_key_jwt [default: as it is registered]' -r
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l link -d 'Through which broker: broker, your own, or embedded-broker [default: the embedded one if it is enabled]' -r
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand explain" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand explain" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -f -a "list" -d 'List what happened, the newest last'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -f -a "tail" -d 'Show the end of the trail, and with --follow what happens from then on'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -f -a "export" -d 'Write the whole trail as JSON lines, to be verified elsewhere'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -f -a "verify" -d 'Check that nothing in the trail was changed, removed, moved or cut off; exit code 65 if it was'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and not __fish_seen_subcommand_from list tail export verify checkpoint" -f -a "checkpoint" -d 'Sign the trail as it is now and print the checkpoint, to be kept elsewhere for `audit verify --checkpoint`'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l since -d 'Only entries noted then or later: a time, or how long ago, such as 24h' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l until -d 'Only entries noted before' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l type -d 'Only entries of this type, such as operator, credential, refusal or credential.retired' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l client -d 'Only entries about this client' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l reason -d 'Only entries with this reason code' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l limit -d 'How many entries, the newest; 0 for all' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from list" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l since -d 'Only entries noted then or later: a time, or how long ago, such as 24h' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l until -d 'Only entries noted before' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l type -d 'Only entries of this type, such as operator, credential, refusal or credential.retired' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l client -d 'Only entries about this client' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l reason -d 'Only entries with this reason code' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -s n -l lines -d 'How many entries to begin with' -r
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -s f -l follow -d 'Go on with what happens, until Ctrl-C'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from tail" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from export" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from export" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from export" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from verify" -l file -d 'An export to check instead of the gateway\'s own trail; - for standard input' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from verify" -l checkpoint -d 'Checkpoints that were kept elsewhere, as `credgate audit checkpoint` prints them, one a line: shows an end that was cut off' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from verify" -l jwks -d 'The JWK Set to check signatures by [default: the gateway\'s own; none for an export]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from verify" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from verify" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from verify" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from verify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from checkpoint" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from checkpoint" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from checkpoint" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand audit; and __fish_seen_subcommand_from checkpoint" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand export" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand export" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand export" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand export" -l without-credentials -d 'Leave out the digests of secrets and of enrolment tokens: whoever has the latter can register devices'
complete -c credgate -n "__fish_credgate_using_subcommand export" -l show-credentials -d 'Print digests on a terminal, too'
complete -c credgate -n "__fish_credgate_using_subcommand export" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand backup" -s r -l recipient -d 'Encrypt it to this recipient, a public key that age-keygen made; may be repeated' -r
complete -c credgate -n "__fish_credgate_using_subcommand backup" -s R -l recipients-file -d 'Encrypt it to the recipients of this file, one a line; may be repeated' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand backup" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand backup" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand backup" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand backup" -l without-keys -d 'Leave out keys that are not sealed, and certificates'
complete -c credgate -n "__fish_credgate_using_subcommand backup" -l plain-keys -d 'Have keys in it that are not sealed, though it is not encrypted: whoever reads it can sign tokens'
complete -c credgate -n "__fish_credgate_using_subcommand backup" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand restore" -s i -l identity -d 'File with the identity that decrypts it, as age-keygen writes it; may be repeated' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand restore" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand restore" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand restore" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand restore" -l force -d 'Put it in the place of a registry or keys that are there; these are moved aside, not removed'
complete -c credgate -n "__fish_credgate_using_subcommand restore" -l dry-run -d 'Verify all of it and put nothing in place'
complete -c credgate -n "__fish_credgate_using_subcommand restore" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand check" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand check" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand check" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand check" -l list -d 'List the checks instead'
complete -c credgate -n "__fish_credgate_using_subcommand check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand reload" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand reload" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand reload" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand reload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand status" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand status" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand status" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c credgate -n "__fish_credgate_using_subcommand top" -s i -l interval -d 'Seconds between two looks, 0.2 to 3600' -r
complete -c credgate -n "__fish_credgate_using_subcommand top" -l output -d 'What to print: tables for people, JSON for programs' -r -f -a "table\t'For people'
json\t'For programs'"
complete -c credgate -n "__fish_credgate_using_subcommand top" -l config -d 'Configuration file [default: /etc/credgate/credgate.toml if it exists]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand top" -l control-socket -d 'Control socket of the gateway [default: as configured]' -r -F
complete -c credgate -n "__fish_credgate_using_subcommand top" -s h -l help -d 'Print help (see more with \'--help\')'
