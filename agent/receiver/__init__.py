"""The reference receiver: enrols devices, takes envelopes over mutual TLS, stores them, signs receipts.

Owns: a receiver's directory (`layout`), its bench CA (`pki`), who may send (`devices`), the store (`store`), the
rules for an envelope (`intake`) and the network around them (`service`, `server`). Leaves to others: the format
(`agent.envelope`) and the owner's private keys (`agent.custody`): a receiver cannot open what it stores.
"""
