"""The reference receiver: enrols devices, takes envelopes over mutual TLS, stores them, signs receipts.

Owns: a receiver's directory (`layout`), who may send and the bench CA (`admission`), the store (`stores`), the rules
for an envelope and the network around them (`intake`), the page (`fleet`). Leaves to others: the format
(`agent.wire`) and the owner's private keys (`agent.custody`): a receiver cannot open what it stores.
"""
