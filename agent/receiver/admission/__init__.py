"""Who may send and who may look: devices, operators, their enrolment and certificates."""
