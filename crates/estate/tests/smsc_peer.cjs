// A message centre that is not ours: the `smpp` package of npm. It prints one line of JSON for each message that it takes.
// Usage: node smsc_peer.cjs FOLDER_OF_NODE_MODULES PORT; it prints "listening PORT" first.
const [modules, port] = process.argv.slice(2);
const smpp = require(require.resolve('smpp', { paths: [modules] }));
let last = 0;
const asked = new Set();
const server = smpp.createServer((session) => {
  session.on('error', () => {});
  session.on('bind_transceiver', (pdu) => session.send(pdu.response()));
  session.on('enquire_link', (pdu) => session.send(pdu.response()));
  session.on('unbind', (pdu) => { session.send(pdu.response()); session.close(); });
  session.on('submit_sm', (pdu) => {
    // Some telephones are refused for good, some for now.
    if (pdu.destination_addr.startsWith('3369')) {
      return session.send(pdu.response({ command_status: smpp.ESME_RINVDSTADR }));
    }
    if (pdu.destination_addr.startsWith('3368') && !asked.has(pdu.destination_addr)) {
      asked.add(pdu.destination_addr);
      return session.send(pdu.response({ command_status: smpp.ESME_RTHROTTLED }));
    }
    const id = `peer-${++last}`;
    const text = pdu.short_message.message;
    console.log(JSON.stringify({ id, to: pdu.destination_addr, from: pdu.source_addr, text: text.toString(),
      coding: pdu.data_coding, validity: pdu.validity_period, receipt: pdu.registered_delivery }));
    session.send(pdu.response({ message_id: id }));
    session.deliver_sm({ source_addr: pdu.destination_addr, destination_addr: pdu.source_addr, esm_class: 4,
      short_message: `id:${id} sub:001 dlvrd:001 submit date:2601010000 done date:2601010000 stat:DELIVRD err:000 text:` });
  });
});
server.listen({ host: '127.0.0.1', port: Number(port) }, () => console.log(`listening ${server.address().port}`));
